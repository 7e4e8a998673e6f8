"""The page of a validation: the verdict, every check, and the images that something is wrong with."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hakka.boxes import Array
from hakka.cores import usable_cores
from hakka.data.dataset import Dataset, ImageEntry
from hakka.data.page import gallery, heading, page, paragraph, table
from hakka.data.pictures import thumbnail
from hakka.errors import InvalidInput
from hakka.texts import counted

SHOWN = 12  # findings of each check that are shown with their images
_SIDE = 260  # pixels
_MOST_LENGTH = 4_000_000  # letters of all pictures together
_MOST_PIXELS = 600_000_000  # of all photos that are opened for one page: a few seconds at worst


def render_report(report: Mapping[str, Any], dataset: Dataset, root: Path) -> str:
    """``report.html`` of a validation; the same report and images give the same page."""
    verdict = "Passed" if report["passed"] else "Failed"
    kind = "ok" if report["passed"] else "error"
    skipped = sum(check["skipped"] for check in report["checks"])
    counts = (len(report["checks"]) - skipped, "check"), (report["errors"], "error"), (report["warnings"], "warning")
    summary = f"{verdict}: " + ", ".join(counted(*count) for count in counts)
    summary += f", {skipped} not run." if skipped else "."
    body = [paragraph(summary, kind), table(["", "check", "what must be true", "findings"], _rows(report["checks"]))]
    pictures = _Pictures(dataset, root)
    failed = sorted(
        (check for check in report["checks"] if not check["passed"]), key=lambda check: str(check["severity"])
    )
    pictures.draw_ahead(name for check in failed for finding in check["findings"][:SHOWN] for name in _names(finding))
    for check in failed:
        body.append(heading(f"{check['severity']}: {_title(check)}"))
        body.extend(_show(check["findings"], pictures))
        body.append(table(["image", "finding"], [[item["image"], item["reason"]] for item in check["findings"]]))
    return page("Hakka: data quality", body)


def _rows(checks: Iterable[Mapping[str, Any]]) -> list[list[Any]]:
    return [
        [
            "not run" if check["skipped"] else "ok" if check["passed"] else check["severity"],
            _title(check),
            " ".join(text for text in (check["about"], check["note"] and f"({check['note']})") if text),
            len(check["findings"]),
        ]
        for check in checks
    ]


def _title(check: Mapping[str, Any]) -> str:
    return f"{check['name']} (yours: {check['origin']})" if check["origin"] else str(check["name"])


def _show(findings: Iterable[Mapping[str, Any]], pictures: "_Pictures") -> list[str]:
    """The images of the first findings: one grid, and a row of its own for every two that belong together."""
    singles: list[tuple[str, str, str]] = []
    pairs: list[str] = []
    shown = 0
    for finding in findings:
        found = [(uri, name, finding["reason"]) for name in _names(finding) if (uri := pictures.of(name)) is not None]
        if len(found) == 2:
            pairs.append(gallery(found))
        else:
            singles += found
        shown += bool(found)
        if shown == SHOWN or pictures.used_up:
            break
    return [*([gallery(singles)] if singles else []), *pairs]


def _names(finding: Mapping[str, Any]) -> list[str]:
    return [name for name in (finding["image"], finding.get("other")) if name is not None]


@dataclass
class _Pictures:
    """Pictures of a dataset's own images with their boxes, until the page is full."""

    dataset: Dataset
    root: Path
    length: int = 0
    pixels: int = 0
    used_up: bool = False
    made: dict[str, str | None] = field(default_factory=dict)
    drawn: dict[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.entries = {entry.image: entry for entry in self.dataset.entries}

    def draw_ahead(self, images: Iterable[str]) -> None:
        """Draw on all cores what ``of`` will be asked for, as far as there is room."""
        pixels = 0
        wanted: list[ImageEntry] = []
        for entry in (self.entries[image] for image in dict.fromkeys(images) if image in self.entries):
            pixels += entry.width * entry.height
            if pixels > _MOST_PIXELS:
                break
            wanted.append(entry)
        with ThreadPoolExecutor(usable_cores()) as pool:
            self.drawn.update(zip((entry.image for entry in wanted), pool.map(self._draw, wanted), strict=True))

    def of(self, image: str) -> str | None:
        """A ``data:`` URI, or None: no image of the dataset, not to be decoded, or no room left."""
        entry = self.entries.get(image)  # a finding may name anything; only what the dataset holds is opened
        if entry is None or self.used_up:
            return None
        if image not in self.made:
            self.pixels += entry.width * entry.height
            self.made[image] = self.drawn.pop(image) if image in self.drawn else self._draw(entry)
        self.length += len(self.made[image] or "")
        self.used_up = self.length > _MOST_LENGTH or self.pixels > _MOST_PIXELS
        return None if self.length > _MOST_LENGTH else self.made[image]

    def _draw(self, entry: ImageEntry) -> str | None:
        boxes: Array | None
        try:
            boxes = self.dataset.labels(entry)
        except InvalidInput:
            boxes = None
        return thumbnail(self.root / entry.image, boxes, self.dataset.names, _SIDE)

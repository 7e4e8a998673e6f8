"""Images and boxes while a reader goes through its files, and the account of what it found."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from hakka.boxes import Array
from hakka.data.findings import Finding, refuse_box, refuse_image
from hakka.data.formats.annotations import Annotations, SourceImage
from hakka.data.formats.locate import folder_split
from hakka.data.formats.naming import ImageFinder, tell_often
from hakka.data.formats.shapes import LIMIT, Bounds, number
from hakka.data.listing import Listing
from hakka.texts import is_text, printable, short


@dataclass
class Record:
    """One image while its boxes come in; ``reason`` is why it is refused, ``place`` where it stands in the source."""

    place: str
    name: str | None = None
    size: tuple[int, int] | None = None
    unit: Literal["pixels", "shares"] = "pixels"
    split: str | None = None
    reason: str = ""
    places: list[int] = field(default_factory=list)
    refused: int = 0


class Gathering:
    """What a reader found so far.

    ``start`` an image, ``locate`` it, ``add`` its boxes, ``finish`` it, one image after the other; ``annotations``
    gives the whole. Class names are sorted, because the order of first appearance is that of the file system.
    """

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.finder = ImageFinder(listing)
        self.findings: list[Finding] = []
        self.images_found = 0
        self.boxes_found = 0
        self._names: dict[str, int] = {}
        self._rows = array("d")
        self._done: list[tuple[Record, int]] = []
        self._taken: dict[str, str] = {}
        self._tallies: dict[str, list[Any]] = {}

    def start(self, place: str, split: str | None = None) -> Record:
        """Count an image; ``place`` opens every sentence about it, ``split`` is what its annotation file says."""
        self.images_found += 1
        return Record(printable(place), split=split)

    def locate(self, record: Record, written: Iterable[Any], file: str, *, one_image: bool) -> None:
        """Find the image file of a record by the names that ``file`` gives for it, or refuse the record.

        ``one_image`` says that ``file`` is about this image only.
        """
        names = [name for name in written if isinstance(name, str)]
        path, how = self.finder.find(names, file, one_image=one_image)
        if path is None:
            self.refuse(record, f"{record.place}: {how}")
            return
        if how:
            self.tally(how, record.place)
        self.take(record, path)

    def take(self, record: Record, path: str) -> None:
        """Give the record its image file, unless another record has it."""
        record.name = printable(path)
        if path in self._taken:
            first = self._taken[path]
            self.refuse(record, f"{record.place}: {record.name} is listed a second time, first by {first}")
            return
        self._taken[path] = record.place
        record.split = record.split or folder_split(path)
        if not is_text(path):
            self.refuse(record, f"{record.place}: the path must be valid UTF-8, got {record.name!r}")

    def claim(self, record: Record, width: Any, height: Any) -> None:
        """The size that the source says the image has; none if both are missing."""
        if record.reason or (width is None and height is None):
            return
        sides = [number(side) or 0.0 for side in (width, height)]
        if any(side < 1 or side != int(side) for side in sides):
            reason = f"width and height must be whole numbers from 1, got {short(width)} and {short(height)}"
            self.refuse(record, f"{record.place}: {reason}")
            return
        record.size = int(sides[0]), int(sides[1])

    def refuse(self, record: Record, reason: str) -> None:
        """Refuse an image with all its boxes; the first reason stays."""
        record.reason = record.reason or reason

    def add(self, record: Record, i: int, what: str, label: Any, bounds: Bounds | str) -> None:
        """Count box ``i`` of an image and keep it, or refuse it: ``bounds`` may be the reason.

        ``what`` is what the format calls a box: shape, region, object, result.
        """
        self.boxes_found += 1
        if record.reason:
            record.refused += 1  # told once, by the image's own finding
            return
        reason = bounds if isinstance(bounds, str) else _problem(bounds)
        if not reason and not (is_text(label) and label.strip()):
            reason = f"the class name must be text, got {short(label)}"
        if reason:
            self.findings.append(refuse_box(record.name, i, f"{what} {i} of {record.place}: {reason}"))
            return
        self._rows.append(self._names.setdefault(label, len(self._names)))
        self._rows.extend(bounds)  # type: ignore[arg-type]  # not a reason, or it would have been refused
        record.places.append(i)

    def finish(self, record: Record) -> None:
        """All boxes of the image are in."""
        if record.reason:
            del self._rows[len(self._rows) - 5 * len(record.places) :]
            boxes = record.refused + len(record.places)
            self.findings.append(refuse_image(record.name, record.reason, boxes))
        else:
            self._done.append((record, len(self._rows) // 5))

    def orphan(self, i: int, reason: str) -> None:
        """Count box ``i`` of a file, which belongs to no image, and refuse it."""
        self.boxes_found += 1
        self.findings.append(refuse_box(None, i, reason))

    def note(self, reason: str) -> None:
        """A sentence that counts nothing."""
        self.findings.append(Finding("note", None, None, printable(reason)))

    def tally(self, what: str, place: str) -> None:
        """A note that may be due thousands of times and is told once, with its count and the first place."""
        self._tallies.setdefault(what, [place, 0])[1] += 1

    def annotations(self, format: str, files: Iterable[str]) -> Annotations:  # noqa: A002
        """Everything that came in; image files that no record named are refused here."""
        for what, (place, count) in self._tallies.items():
            self.note(tell_often(what, place, count))
        for name in self.listing.images:
            if name not in self._taken:
                self.images_found += 1
                self.findings.append(refuse_image(printable(name), "no annotation file lists this image", 0))
        names = sorted(self._names)
        return Annotations(
            format=format,
            files=tuple(files),
            names=tuple(names),
            images=tuple(self._images(names)),
            images_found=self.images_found,
            boxes_found=self.boxes_found,
            findings=tuple(self.findings),
        )

    def _images(self, names: list[str]) -> Iterable[SourceImage]:
        rows: Array = np.array(self._rows, dtype=float).reshape(-1, 5)
        rank = {name: i for i, name in enumerate(names)}
        order = np.array([rank[name] for name in self._names], dtype=float)
        if len(rows):
            rows[:, 0] = order[rows[:, 0].astype(int)]
        start = 0
        for record, end in self._done:
            if record.name is not None:
                places = tuple(record.places)
                yield SourceImage(record.name, record.size, rows[start:end], places, record.unit, record.split)
            start = end


def _problem(bounds: Bounds) -> str:
    left, top, right, bottom = bounds
    if not all(-LIMIT <= value <= LIMIT for value in bounds):
        return f"must hold finite numbers within ±{LIMIT:.0e}, got {short(list(bounds))}"
    if right <= left:
        return f"width must be > 0, got {right - left:g}"
    if bottom <= top:
        return f"height must be > 0, got {bottom - top:g}"
    return ""

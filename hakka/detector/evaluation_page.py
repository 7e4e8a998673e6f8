"""The evaluation as one self-contained page."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from hakka.boxes import Array, xyxy_to_cxcywh
from hakka.cores import usable_cores
from hakka.data.dataset import Dataset, ImageEntry
from hakka.data.page import gallery, heading, page, paragraph, table
from hakka.data.pictures import thumbnail
from hakka.detector.runtime import Detections

MOST_CLASSES = 40  # in the confusion matrix; beyond, only those that are confused most
WIDTH, HEIGHT = 640, 320


@dataclass(frozen=True)
class Mistake:
    """A test image with how many boxes were missed and invented at the model's confidence, and what was found."""

    entry: ImageEntry
    missed: int
    invented: int
    found: Detections

    @property
    def count(self) -> int:
        """Both kinds together."""
        return self.missed + self.invented


def render_evaluation(
    metrics: Mapping[str, Any],
    speed: Mapping[str, float],
    curves: Mapping[str, Sequence[float | None]],
    worst: Sequence[Mistake],
    data: Dataset,
    root: Path,
) -> str:
    """``report.html`` of an evaluation; the arguments are what ``evaluate`` writes beside it."""
    with ThreadPoolExecutor(usable_cores()) as pool:
        pictures = pool.map(lambda mistake: _pictures(mistake, data, root), worst)
    body = [
        paragraph(
            f"Version {metrics['version']} on {metrics['images']} test images with {metrics['boxes']} boxes: "
            f"mAP50 {metrics['map50']:.3f}, mAP50-95 {metrics['map50_95']:.3f}; "
            f"{speed['ms']:.1f} ms a photo (95 % within {speed['ms_p95']:.1f} ms)."
        ),
        heading("By class, weakest first"),
        paragraph(
            f"Precision, recall and F1 are those of detections with confidence {metrics['confidence']} or more; "
            "the best confidence is the one with the highest F1 on these images."
        ),
        _class_table(metrics["per_class"]),
        heading("Precision over recall, at IoU 0.5"),
        _curve_chart(curves),
        heading("Slices"),
        table(
            ("slice", "images", "boxes", "mAP50"),
            [(name, row["images"], row["boxes"], _show(row["map50"])) for name, row in metrics["slices"].items()],
        ),
        heading("What is taken for what"),
        _confusion_table([*metrics["per_class"], "nothing"], np.array(metrics["confusion"]), metrics["confidence"]),
        heading("Calibration"),
        *_calibration_parts(metrics["calibration"]),
        heading("Worst mistakes"),
        gallery([part for parts in pictures for part in parts]),
    ]
    return page("Evaluation", body)


def _show(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _class_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    columns = ("ap50", "ap", "precision", "recall", "f1", "best_confidence", "best_f1")
    names = ("AP50", "AP50-95", "precision", "recall", "F1", "best confidence", "its F1")
    weakest_first = sorted(rows.items(), key=lambda item: (item[1]["ap50"] is None, item[1]["ap50"] or 0, item[0]))
    lines = [(name, row["instances"], *(_show(row[column]) for column in columns)) for name, row in weakest_first]
    return table(("class", "boxes", *names), lines)


def _curve_chart(curves: Mapping[str, Sequence[float | None]]) -> str:
    """One thin line a class and a thick one for their mean."""
    known = {name: values for name, values in curves.items() if None not in values}
    if not known:
        return paragraph("None.")
    rows = np.array(list(known.values()), dtype=float)
    lines = [_line(row, "stroke:var(--quiet);stroke-opacity:.35") for row in rows]
    mean = _line(rows.mean(axis=0), "stroke:var(--a);stroke-width:3")
    axes = "".join(
        f'<text x="{WIDTH * x}" y="{HEIGHT + 16}" fill="currentColor" font-size="11" text-anchor="middle">{x}</text>'
        f'<text x="-6" y="{HEIGHT * (1 - x) + 4}" fill="currentColor" font-size="11" text-anchor="end">{x}</text>'
        f'<path d="M0 {HEIGHT * (1 - x)}H{WIDTH}" style="stroke:var(--line)"/>'
        for x in (0, 0.25, 0.5, 0.75, 1)
    )
    caption = escape(f"Recall to the right, precision upwards: {len(known)} classes and, thick, their mean.")
    return (
        f'<svg viewBox="-36 -10 {WIDTH + 56} {HEIGHT + 34}" role="img" aria-label="{caption}" '
        f'style="max-width:44rem;fill:none">{axes}{"".join(lines)}{mean}</svg>{paragraph(caption, "quiet")}'
    )


def _line(values: Array, style: str) -> str:
    points = " ".join(f"{WIDTH * i / 100:.0f},{HEIGHT * (1 - value):.1f}" for i, value in enumerate(values))
    return f'<polyline points="{points}" style="{style}"/>'


def _confusion_table(names: Sequence[str], matrix: Array, confidence: float) -> str:
    """The matrix, or of very many classes the part of those that are confused most."""
    confused = matrix.sum(axis=0) + matrix.sum(axis=1) - 2 * np.diag(matrix)
    order = np.argsort(-confused[:-1], kind="stable")[:MOST_CLASSES]
    shown = [*sorted(int(i) for i in order), len(names) - 1]
    rows = [[names[i], *(int(matrix[i, j]) or None for j in shown)] for i in shown]
    note = f"A row is what was there, a column what was found with confidence {confidence} or more; empty is 0."
    matrix_table = table(("", *(names[i] for i in shown)), rows)
    return f'{paragraph(note, "quiet")}<div class="wide">{matrix_table}</div>'


def _calibration_parts(values: Mapping[str, Any]) -> list[str]:
    if values["error"] is None:
        return [paragraph("Nothing was found.")]
    rows = [
        (f"{row['low']:.1f}–{row['high']:.1f}", row["count"], _show(row["confidence"]), _show(row["precision"]))
        for row in values["bins"]
    ]
    text = f"Expected calibration error {values['error']:.3f}: how far confidence is from precision on average."
    return [paragraph(text), table(("confidence", "detections", "mean confidence", "precision"), rows)]


def _pictures(mistake: Mistake, data: Dataset, root: Path) -> list[tuple[str, str, str]]:
    """What was found beside what was there."""
    entry, found = mistake.entry, mistake.found
    shares = xyxy_to_cxcywh(found.boxes, entry.width, entry.height)
    boxes = np.concatenate([found.class_ids.reshape(-1, 1), shares], axis=1)
    pairs = (
        (boxes, f"found: {mistake.missed} missed, {mistake.invented} invented"),
        (data.labels(entry), "what was labelled"),
    )
    drawn = [(thumbnail(root / entry.image, rows, data.names, side=360), text) for rows, text in pairs]
    return [(uri, entry.image, text) for uri, text in drawn if uri is not None]

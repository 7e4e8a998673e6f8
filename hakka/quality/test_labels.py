"""Are the labels well formed, inside their images, and each there once?"""

import numpy as np

from hakka.boxes import Array, cxcywh_to_xyxy, iou_matrix
from hakka.data.dataset import Dataset
from hakka.quality.answers import Judge
from hakka.quality.limits import Limits

MOST_COMPARED = 2000  # boxes of one image
ROUNDING = 1e-6  # shares; what eight decimals can leave outside the frame


def test_label_files(dataset: Dataset, judge: Judge) -> None:
    """Every image has its label file, and every label file its image."""
    wanted = {dataset.label_file(entry): entry.image for entry in dataset.entries}
    there = set((dataset.path / "labels").rglob("*.txt"))
    missing = [
        (image, f"{path.name}: the label file of {image} is missing")
        for path, image in wanted.items()
        if path not in there
    ]
    orphans = [
        (None, f"{path.relative_to(dataset.path)}: no image belongs to it") for path in sorted(there - set(wanted))
    ]
    judge([*missing, *orphans])


def test_label_syntax(dataset: Dataset, labels: dict[str, Array | str], judge: Judge) -> None:
    """Every label line is five finite numbers, as many lines as the index says."""
    problems: list[tuple[str | None, str]] = []
    for entry in dataset.entries:
        found = labels[entry.image]
        if isinstance(found, str):
            problems.append((entry.image, found))
        elif len(found) != entry.boxes:
            problems.append((entry.image, f"{entry.image}: must have {entry.boxes} boxes, got {len(found)}"))
    judge(problems)


def test_label_classes(dataset: Dataset, boxes: dict[str, Array], judge: Judge) -> None:
    """Every class number is whole and has a name."""
    count = len(dataset.names)
    judge(
        (image, f"box {i} of {image}: class must be a whole number from 0 to {count - 1}, got {label:g}")
        for image, rows in boxes.items()
        for i, label in enumerate(rows[:, 0])
        if label not in range(count)
    )


def test_label_coordinates(boxes: dict[str, Array], judge: Judge) -> None:
    """Every box lies inside its image and has a size."""
    problems: list[tuple[str | None, str]] = []
    for image, rows in boxes.items():
        corners = cxcywh_to_xyxy(rows[:, 1:], 1, 1)
        bad = (corners < -ROUNDING).any(1) | (corners > 1 + ROUNDING).any(1) | (rows[:, 3:] <= 0).any(1)
        problems += [
            (image, f"box {i} of {image}: must lie within 0–1 and be > 0, got {rows[i, 1:]}")
            for i in np.flatnonzero(bad)
        ]
    judge(problems)


def test_label_degenerate(dataset: Dataset, boxes: dict[str, Array], limits: Limits, judge: Judge) -> None:
    """No box is too thin to hold anything."""
    least = limits.number("label_degenerate", "min_pixels")
    problems: list[tuple[str | None, str]] = []
    for entry in dataset.entries:
        sizes = boxes.get(entry.image, np.empty((0, 5)))[:, 3:] * [entry.width, entry.height]
        for i in np.flatnonzero((sizes < least).any(1)):
            reason = f"sides must be ≥ {least:g} pixels, got {sizes[i][0]:.1f} x {sizes[i][1]:.1f}"
            problems.append((entry.image, f"box {i} of {entry.image}: {reason}"))
    judge(problems)


def test_label_duplicates(boxes: dict[str, Array], limits: Limits, judge: Judge) -> None:
    """No object is boxed twice."""
    least = limits.number("label_duplicates", "iou")
    problems: list[tuple[str | None, str]] = []
    for image, rows in boxes.items():
        if len(rows) > MOST_COMPARED:
            problems.append(
                (image, f"{image}: only {MOST_COMPARED} of {len(rows)} boxes were compared with each other")
            )
            rows = rows[:MOST_COMPARED]
        overlap = np.triu(iou_matrix(*[cxcywh_to_xyxy(rows[:, 1:], 1, 1)] * 2), 1)
        overlap[rows[:, None, 0] != rows[None, :, 0]] = 0
        for j in np.flatnonzero((overlap > least).any(0)):
            i = int(overlap[:, j].argmax())
            problems.append(
                (image, f"boxes {i} and {j} of {image}: the same class on the same place (IoU {overlap[i, j]:.2f})")
            )
    judge(problems)

"""Are the labels well formed, inside their images, and each there once?

The boxes of all images are looked at in one table, because one call an image is what takes the time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count

import numpy as np
import pytest

from hakka.boxes import Array, cxcywh_to_xyxy, iou, iou_matrix
from hakka.data.dataset import Dataset
from hakka.quality.answers import Judge, Problem
from hakka.quality.limits import Limits
from hakka.texts import counted

MOST_COMPARED = 2000  # boxes of one image
ROUNDING = 1e-6  # shares; what eight decimals can leave outside the frame


@dataclass(frozen=True)
class Table:
    """All boxes that can be read, image after image.

    ``rows`` is (n, 5) class, cx, cy, w, h, ``corners`` (n, 4) xyxy in shares (0–1), ``owners`` (n,) are places in
    ``images``, and ``places`` (n,) those of a box in its image. ``counts`` are the boxes of each image.
    """

    images: list[str]
    counts: Array
    rows: Array
    corners: Array
    owners: Array
    places: Array

    def named(self, chosen: Array) -> Iterator[tuple[int, str, str]]:
        """Of the boxes that a mask (n,) chooses: row, image and ``box I of IMAGE``."""
        for i in np.flatnonzero(chosen).tolist():
            image = self.images[self.owners[i]]
            yield i, image, f"box {self.places[i]} of {image}"


@pytest.fixture(scope="session")
def table(boxes: dict[str, Array]) -> Table:
    """The boxes of all images."""
    return make_table(boxes)


def make_table(boxes: Mapping[str, Array]) -> Table:
    """The table of (n, 5) labels by image."""
    counts = np.array([len(rows) for rows in boxes.values()], dtype=int)
    rows = np.concatenate([np.empty((0, 5)), *boxes.values()])
    starts = np.cumsum(counts) - counts
    return Table(
        images=list(boxes),
        counts=counts,
        rows=rows,
        corners=cxcywh_to_xyxy(rows[:, 1:], 1, 1),
        owners=np.repeat(np.arange(len(counts)), counts),
        places=np.arange(len(rows)) - np.repeat(starts, counts),
    )


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
            problems.append(
                (entry.image, f"{entry.image}: must have {counted(entry.boxes, 'box', 'boxes')}, got {len(found)}")
            )
    judge(problems)


def test_label_classes(dataset: Dataset, table: Table, judge: Judge) -> None:
    """Every class number is whole and has a name."""
    known = len(dataset.names)
    labels = table.rows[:, 0]
    judge(
        (image, f"{box}: class must be a whole number from 0 to {known - 1}, got {labels[i]:g}")
        for i, image, box in table.named(~np.isin(labels, np.arange(known)))
    )


def test_label_coordinates(table: Table, judge: Judge) -> None:
    """Every box lies inside its image and has a size."""
    corners, rows = table.corners, table.rows
    outside = np.any((corners < -ROUNDING) | (corners > 1 + ROUNDING), axis=1)
    bad = np.logical_or(outside, np.any(rows[:, 3:] <= 0, axis=1))
    judge((image, f"{box}: must lie within 0–1 and be > 0, got {rows[i, 1:]}") for i, image, box in table.named(bad))


def test_label_degenerate(dataset: Dataset, table: Table, limits: Limits, judge: Judge) -> None:
    """No box is too thin to hold anything."""
    least = limits.number("label_degenerate", "min_pixels")
    sides = {entry.image: (entry.width, entry.height) for entry in dataset.entries}
    sizes = table.rows[:, 3:] * np.array([sides[image] for image in table.images]).reshape(-1, 2)[table.owners]
    judge(
        (image, f"{box}: sides must be ≥ {least:g} pixels, got {sizes[i, 0]:.1f} x {sizes[i, 1]:.1f}")
        for i, image, box in table.named((sizes < least).any(1))
    )


def test_label_duplicates(boxes: dict[str, Array], table: Table, limits: Limits, judge: Judge) -> None:
    """No object is boxed twice."""
    least = limits.number("label_duplicates", "iou")
    problems: list[Problem] = []
    for image in _suspects(table, least):
        rows = boxes[image]
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


def _suspects(table: Table, least: float) -> list[str]:
    """The images that have too many boxes, or two of a class whose IoU is above ``least``."""
    suspected = table.counts > MOST_COMPARED
    last = np.minimum(table.counts, MOST_COMPARED)[table.owners]
    first = np.arange(len(table.rows))
    for step in count(1):  # every box with the one that comes so many places behind it
        first = first[table.places[first] + step < last[first]]
        if not len(first):
            break
        same = first[table.rows[first, 0] == table.rows[first + step, 0]]
        suspected[table.owners[same[iou(table.corners[same], table.corners[same + step]) > least]]] = True
    return [table.images[i] for i in np.flatnonzero(suspected)]

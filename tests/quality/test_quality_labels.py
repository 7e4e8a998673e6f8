"""The checks that look at the boxes of all images at once find what a look at each image finds."""

import numpy as np
import pytest

from hakka.boxes import cxcywh_to_xyxy, iou_matrix
from hakka.quality import test_labels as checks
from hakka.quality.limits import Limits


def boxes_of(seed: int) -> dict[str, np.ndarray]:
    """Images with none to nine boxes on a coarse grid, so that many are on one place."""
    rng = np.random.default_rng(seed)
    found = {}
    for i in range(40):
        places = rng.integers(1, 4, (rng.integers(0, 10), 4)) / 8
        found[f"{i}.jpg"] = np.column_stack([rng.integers(0, 2, len(places)), places])
    return found


@pytest.mark.parametrize("least", [0, 0.3, 0.5, 0.95])
def test_boxes_on_one_place_are_found_in_every_image(least):
    boxes = boxes_of(7)
    expected = []
    for image, rows in boxes.items():
        overlap = np.triu(iou_matrix(*[cxcywh_to_xyxy(rows[:, 1:], 1, 1)] * 2), 1)
        same = rows[:, None, 0] == rows[None, :, 0]
        expected += [(image, j) for j in range(len(rows)) if (overlap[:, j] * same[:, j] > least).any()]
    found = []
    table = checks.make_table(boxes)
    limits = Limits({"label_duplicates": {"iou": least}})
    checks.test_label_duplicates(boxes, table, limits, lambda problems: found.extend(problems))
    assert [(image, int(reason.split()[3])) for image, reason in found] == expected
    assert expected

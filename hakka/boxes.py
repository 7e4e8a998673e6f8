"""Boxes: one array type, two ways to write it.

``xyxy`` is left, top, right, bottom in pixels. ``cxcywh`` is centre and size as shares (0–1) of the image side.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def xyxy_to_cxcywh(boxes: Array, width: int | Array, height: int | Array) -> Array:
    """(n, 4) pixel corners as (n, 4) normalised centre and size; width and height are one, or (n,), in pixels."""
    left, top, right, bottom = boxes.reshape(-1, 4).T
    return np.stack(
        [(left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height],
        axis=1,
    )


def cxcywh_to_xyxy(boxes: Array, width: int, height: int) -> Array:
    """(n, 4) normalised centre and size as (n, 4) pixel corners."""
    x, y, w, h = boxes.reshape(-1, 4).T
    return np.stack([(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height], axis=1)


def box_areas(boxes: Array) -> Array:
    """Areas (...) of xyxy boxes (..., 4); 0 for one that is inside out."""
    sides = np.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    areas: Array = sides[..., 0] * sides[..., 1]
    return areas


def iou(a: Array, b: Array) -> Array:
    """Intersection over union of xyxy boxes (..., 4), broadcast against each other; 0 where both are empty."""
    sides = np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0)
    inter = sides[..., 0] * sides[..., 1]
    union = box_areas(a) + box_areas(b) - inter
    result: Array = np.divide(inter, union, out=np.zeros_like(union, dtype=float), where=union > 0)
    return result


def iou_matrix(a: Array, b: Array) -> Array:
    """(n, m) intersection over union of (n, 4) and (m, 4) xyxy boxes; 0 where both are empty."""
    return iou(a.reshape(-1, 1, 4), b.reshape(1, -1, 4))

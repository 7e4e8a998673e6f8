"""``segmentation`` of COCO as a box: polygons, and masks as run lengths (RLE), plain or packed into text.

A mask is counted down its columns, from the left: so many pixels out of the object, so many in it, out, in, until all
are counted. As text, a count is written in groups of 5 bits, the lowest first, each a letter from "0" on, 32 higher if
another group follows; from the fourth count on, what is written is the difference to the count before the last one
(cocoapi, ``maskApi.c``).
"""

from typing import Any

import numpy as np

from hakka.boxes import Array
from hakka.data.formats.shapes import Bounds, number, polygon_bounds
from hakka.texts import short

_MOST_RUNS = 4_000_000
_MOST_GROUPS = 6  # 30 bits: more than any image has pixels


def segmentation_bounds(value: Any, frame: tuple[int, int] | None) -> Bounds | str:
    """Left, top, right, bottom of a ``segmentation``, or the reason why there is no box around it.

    ``frame`` is the width and height that the annotations give for the image; a mask must have that size.
    """
    if isinstance(value, dict):
        return _mask_bounds(value, frame)
    if not isinstance(value, list) or not value:
        return f"segmentation must be polygons or an RLE mask, got {short(value)}"
    corners = []
    for ring in value:
        if not isinstance(ring, list) or len(ring) < 6 or len(ring) % 2:
            return f"a polygon must be 3 or more pairs x, y in one list, got {short(ring)}"
        sides = [number(side) for side in ring]
        if None in sides:
            return f"a polygon must hold finite numbers within ±1e7, got {short(ring)}"
        corners += list(zip(sides[::2], sides[1::2], strict=True))
    return polygon_bounds(corners)  # type: ignore[arg-type]  # no None in any side


def _mask_bounds(value: dict[str, Any], frame: tuple[int, int] | None) -> Bounds | str:
    size = value.get("size")
    if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int and 0 < side < 2**20 for side in size):
        return f"size of an RLE mask must be [height, width], got {short(size)}"
    if frame != (size[1], size[0]):
        said = f"{frame[0]} x {frame[1]}" if frame else "no size"
        return f"the RLE mask is for {size[1]} x {size[0]} pixels, the annotations give the image {said}"
    return rle_bounds((size[0], size[1]), value.get("counts"))


def rle_bounds(size: tuple[int, int], counts: Any) -> Bounds | str:
    """The box around the pixels of a mask of ``size`` (height, width), or the reason why there is none.

    ``counts`` are run lengths as a list, or packed as text.
    """
    runs = _unpack(counts) if isinstance(counts, str) else _checked(counts)
    if isinstance(runs, str):
        return runs
    height, width = size
    if runs.min(initial=0) < 0 or int(runs.sum()) != height * width:
        return f"the runs of an RLE mask must be from 0 on and add up to {height * width} pixels, got {short(counts)}"
    ends = np.cumsum(runs)
    starts, ends = (ends - runs)[1::2], ends[1::2]
    starts, ends = starts[ends > starts], ends[ends > starts] - 1  # first and last pixel of the runs in the object
    if not len(starts):
        return "the RLE mask is empty"
    columns, last_columns = starts // height, ends // height
    if (columns != last_columns).any():  # a run goes on at the top of the next column
        top, bottom = 0, height
    else:
        top, bottom = int((starts % height).min()), int((ends % height).max()) + 1
    return int(columns[0]), top, int(last_columns[-1]) + 1, bottom


def _checked(counts: Any) -> Array | str:
    if not isinstance(counts, list) or len(counts) > _MOST_RUNS or not set(map(type, counts)) <= {int}:
        return f"counts of an RLE mask must be text or at most {_MOST_RUNS:,} whole numbers, got {short(counts)}"
    if not all(0 <= count < 2**40 for count in counts):
        return f"the runs of an RLE mask must be from 0 on, got {short(counts)}"
    return np.array(counts, dtype=np.int64)


def _unpack(text: str) -> Array | str:
    """The run lengths of a packed text, or the reason why it is none."""
    letters = np.frombuffer(text.encode("ascii", "replace"), dtype=np.uint8).astype(np.int64) - 48
    if not len(letters) or letters.min() < 0 or letters.max() > 63 or letters[-1] & 32:
        return f"counts of an RLE mask must be letters from 0 to o that end a count, got {short(text)}"
    ends = np.flatnonzero(letters & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if len(ends) > _MOST_RUNS or (ends - starts).max() >= _MOST_GROUPS:
        return f"the RLE mask has more than {_MOST_RUNS:,} runs, or a run of more pixels than an image has"
    places = np.arange(len(letters)) - np.repeat(starts, ends - starts + 1)
    runs = np.add.reduceat((letters & 31) << (5 * places), starts)
    runs -= ((letters[ends] & 16) != 0) * (np.int64(1) << (5 * (ends - starts + 1)))  # the highest bit is the sign
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs

"""The text of label files, from the boxes of many images at once."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from hakka.boxes import Array

DIGITS = 8  # behind the point: half a unit is 5e-9 of the image side
_STEP = 1024  # images whose text is in memory at a time: made before the helper that writes them runs out of others
_FOUR = np.frombuffer("".join(f"{i:04}" for i in range(10_000)).encode(), dtype=np.uint32)  # four letters each
_10_000 = np.uint32(10_000)
_SHARE = np.dtype([*((name, np.uint8) for name in ("before", "whole", "point")), ("high", "u4"), ("low", "u4")])


def label_texts(boxes: Array, starts: Sequence[int]) -> Iterator[bytes]:
    """The content of each image's label file; the boxes of image ``i`` are ``boxes[starts[i]:starts[i + 1]]``.

    ``boxes`` is (n, 5): class index, cx, cy, w, h in shares (0–1) of the image sides. A line holds them in this order,
    the shares with eight digits behind the point.
    """
    for first in range(0, len(starts) - 1, _STEP):
        places = starts[first : first + _STEP + 1]
        text, ends = _format_lines(boxes[places[0] : places[-1]])
        cuts = ends[np.array(places) - places[0]].tolist()
        yield from (text[start:end] for start, end in pairwise(cuts))


def _format_lines(boxes: Array) -> tuple[bytes, Array]:
    """The lines of (n, 5) boxes, and (n + 1,) where each of them begins and the last one ends."""
    labels = boxes[:, 0].astype(np.int64)
    width = len(str(labels.max(initial=0)))
    lines = np.empty(len(boxes), dtype=[("label", np.uint8, (width,)), ("shares", _SHARE, (4,)), ("end", np.uint8)])
    lengths = np.full(len(boxes), lines.itemsize)
    for i, power in enumerate(10 ** np.arange(width)[::-1]):
        is_blank = (labels < power) & (power > 1)  # a zero before a class index
        lines["label"][:, i] = np.where(is_blank, 0, ord("0") + labels // power % 10)
        lengths -= is_blank
    shares = lines["shares"]
    shares["before"], shares["point"], lines["end"] = ord(" "), ord("."), ord("\n")
    units = np.rint(boxes[:, 1:] * 10**DIGITS).astype(np.uint32)
    upper = units // _10_000
    whole = upper // _10_000
    shares["whole"] = ord("0") + whole
    shares["high"], shares["low"] = _FOUR[upper - whole * _10_000], _FOUR[units - upper * _10_000]
    return lines.tobytes().replace(b"\0", b""), np.concatenate([[0], np.cumsum(lengths)])

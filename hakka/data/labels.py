"""Label files: their text from boxes, for many images at once, and the files themselves."""

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from hakka.boxes import Array

DIGITS = 8  # behind the point: half a unit is 5e-9 of the image side
_UNIT = 10**DIGITS
_STEP = 4096  # images whose text is in memory at a time
_FOUR = np.frombuffer("".join(f"{i:04}" for i in range(10_000)).encode(), dtype=np.uint8).reshape(-1, 4)


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
    units = np.rint(boxes[:, 1:] * _UNIT).astype(np.int64)
    whole, rest = np.divmod(units, _UNIT)
    width = len(str(labels.max(initial=0)))
    lines = np.empty((len(boxes), width + 4 * (3 + DIGITS) + 1), dtype=np.uint8)
    for i in range(width):
        lines[:, i] = ord("0") + labels // 10 ** (width - 1 - i) % 10
    shares = np.full((len(boxes), 4, 3 + DIGITS), ord(" "), dtype=np.uint8)
    shares[:, :, 1] = ord("0") + whole
    shares[:, :, 2] = ord(".")
    shares[:, :, 3:7] = _FOUR[rest // 10_000]
    shares[:, :, 7:] = _FOUR[rest % 10_000]
    lines[:, width:-1] = shares.reshape(len(boxes), 4 * (3 + DIGITS))
    lines[:, -1] = ord("\n")
    blank = np.zeros(lines.shape, dtype=bool)  # zeros before a class index
    for i in range(width - 1):
        blank[:, i] = labels < 10 ** (width - 1 - i)
    ends = np.concatenate([[0], np.cumsum(lines.shape[1] - blank.sum(axis=1))])
    return (lines[~blank] if width > 1 else lines).tobytes(), ends


def write_files(folder: Path, contents: Iterable[tuple[str, bytes]]) -> None:
    """Write files that are not there yet into an existing folder, by name.

    Raises:
        OSError: a file cannot be written, or is there already.
    """
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name, content in contents:
            handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=here)
            try:
                while content:
                    content = content[os.write(handle, content) :]
            finally:
                os.close(handle)
    finally:
        os.close(here)

"""Which of many images look alike, without a loop over the pairs."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from hakka.boxes import Array
from hakka.cores import usable_cores

_ROWS, _COLUMNS = 16, 4096  # pairs that are compared at once: what is computed of them fits a core's cache
_TASK = 512  # rows that a thread takes at a time
_PARTS = 4  # of a word, 16 bits each
_EVEN = 14  # bits of the quarter that no mirroring changes, of which copies on record differed in 13 at most
_MIRRORED = 40  # bits; copies on record differed in 36 at most, photos of other scenes in 50 and more
_FLIPS = np.array([(1, -1, 1, -1), (1, 1, -1, -1), (1, -1, -1, 1)]).T  # across, down, both: -1 where bits are opposite
Pairs = tuple[Array, Array, Array]


def close_pairs(looks: Array, bits: int) -> Iterator[Pairs]:
    """Every pair of perceptual hashes that differ in at most ``bits`` bits, in blocks of (i, j, differing bits), j < i.

    ``looks`` is (n, words) uint64, see ``hakka.data.scan.look_words``. No pair is missed. Up to 15 bits the hashes are
    cut into 16 parts, of which a close pair has one in common, so few pairs are compared. Beyond, and at 84 of 256 bits
    above all, no index can pass over many pairs, so n²/2 are compared, shared out over the cores (seconds for 20,000
    images, minutes for 200,000), within the memory of a block a core.
    """
    if bits < looks.shape[1] * _PARTS:
        yield from _compare_parts(looks, bits)
        return
    words = np.ascontiguousarray(looks.T)
    with ThreadPoolExecutor(usable_cores()) as pool:
        for found in pool.map(partial(_compare, words, bits), range(0, len(looks), _TASK)):
            yield from found


def mirrored_pairs(looks: Array, bits: int) -> Iterator[Pairs]:
    """The pairs of which one is nearly the other mirrored or upside down, in blocks as of ``close_pairs``.

    Such are perceptual hashes that differ in at most ``bits`` bits, and 40, after one of them was turned. The limit is
    stricter than it may be for photos of one scene: what is turned is a copy, not one more look at the table.
    """
    if not bits:
        return
    for i, j, _ in close_pairs(looks[:, :1], _EVEN):
        differing = np.bitwise_count(looks[i] ^ looks[j]).astype(np.int16)
        apart = (differing @ _FLIPS + 2 * 64).min(axis=1)  # of two quarters the bits that are the same count
        close = apart <= min(bits, _MIRRORED)
        yield i[close], j[close], apart[close]


def _compare_parts(looks: Array, bits: int) -> Iterator[Pairs]:
    """The close pairs that have a part in common, each at the first one."""
    words, parts = looks.T, np.ascontiguousarray(looks).view(np.uint16)
    for k in range(parts.shape[1]):
        order = np.argsort(parts[:, k], kind="stable")
        values = parts[order, k]
        for step in range(1, len(values)):
            first = np.flatnonzero(values[step:] == values[:-step])
            if not len(first):
                break
            i, j = order[first + step], order[first]
            known = (parts[i, :k] == parts[j, :k]).any(axis=1)
            yield _measure(words, bits, i[~known], j[~known])


def _compare(words: Array, bits: int, top: int) -> list[Pairs]:
    """The close pairs of some rows with all that are before them."""
    differing = np.empty((_ROWS, _COLUMNS), dtype=np.uint64)
    one, total = (np.empty((_ROWS, _COLUMNS), dtype=np.uint8) for _ in range(2))
    close = np.empty((_ROWS, _COLUMNS), dtype=bool)
    found = []
    end = min(top + _TASK, words.shape[1])
    for row in range(top, end, _ROWS):
        rows = words[:, row : min(row + _ROWS, end)]
        for left in range(0, row + rows.shape[1], _COLUMNS):
            columns = words[:, left : min(left + _COLUMNS, row + rows.shape[1])]
            part = np.s_[: rows.shape[1], : columns.shape[1]]
            total[part] = 0
            for one_row, column in zip(rows, columns, strict=True):
                np.bitwise_xor(one_row[:, None], column[None, :], out=differing[part])
                np.bitwise_count(differing[part], out=one[part])
                np.add(total[part], one[part], out=total[part])
            np.less_equal(total[part], bits, out=close[part])
            if close[part].any():
                i, j = np.nonzero(close[part])
                found.append(_measure(words, bits, i + row, j + left))
    return found


def _measure(words: Array, bits: int, i: Array, j: Array) -> Pairs:
    """Of some pairs those with j < i that are close, and their distances; 256 and more were counted modulo 256."""
    i, j = i[j < i], j[j < i]
    apart = np.bitwise_count(words[:, i] ^ words[:, j]).sum(axis=0, dtype=np.uint16)
    close = apart <= bits
    return i[close], j[close], apart[close]

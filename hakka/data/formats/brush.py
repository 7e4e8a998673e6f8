"""Brush masks of Label Studio as boxes.

The mask is RGBA, 8 bits a value, packed as runs (the RLE of thi.ng/umbrella's rle-pack): 32 bits count of values, 5
bits word size - 1, four times 4 bits run size - 1; then until all values are there: 1 bit "run", 2 bits which run size,
the length - 1 in so many bits, and one value of the run, or as many values as the length says.
"""

from typing import Any

from hakka.data.formats.shapes import Bounds
from hakka.texts import short

_LONGEST = 4 * 2**20  # bytes of one mask


def brush_bounds(rle: Any, size: tuple[int, int] | None) -> Bounds | str:
    """The box around the opaque pixels of a mask of ``size``, or the reason why there is none."""
    if size is None:
        return "a brush needs original_width and original_height"
    if not isinstance(rle, list) or len(rle) > _LONGEST:
        return f"rle must be a list of {_LONGEST:,} bytes at most, got {short(rle)}"
    try:
        bits = _Bits(bytes(rle))
        return _bounds(bits, *size)
    except (TypeError, ValueError, OverflowError):
        return f"rle must be a list of bytes (0 to 255), got {short(rle)}"
    except EOFError:
        return "rle ends before the mask is complete"


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def read(self, count: int) -> int:
        end = self._at + count
        if end > 8 * len(self._data):
            raise EOFError
        chunk = self._data[self._at >> 3 : (end + 7) >> 3]
        self._at = end
        return int.from_bytes(chunk) >> (-end % 8) & ((1 << count) - 1)


def _bounds(bits: _Bits, width: int, height: int) -> Bounds | str:
    values, word = bits.read(32), bits.read(5) + 1
    if values != 4 * width * height or word != 8:
        return f"rle must hold {4 * width * height} values of 8 bits, as the image size says, got {values} of {word}"
    lengths = [bits.read(4) + 1 for _ in range(4)]
    left, top, right, bottom = width, height, 0, 0
    i = 0
    while i < values:
        run = bits.read(1)
        length = bits.read(lengths[bits.read(2)]) + 1
        for start, end in [(i, i + length)] if run else ((k, k + 1) for k in range(i, i + length)):
            first, last = start // 4, min(end, values) // 4 - 1  # the pixels whose alpha, value 4 p + 3, is in it
            if bits.read(word) and first <= last:
                one_row = first // width == last // width
                left, right = (min(left, first % width), max(right, last % width + 1)) if one_row else (0, width)
                top, bottom = min(top, first // width), max(bottom, last // width + 1)
        i += length
    return (left, top, right, bottom) if right > left else "the mask is empty"

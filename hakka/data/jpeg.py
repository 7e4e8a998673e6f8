"""What the markers of a JPEG say before it is decoded: may it be decoded small, and how many scans does it have."""

import re
from dataclasses import dataclass

MAX_SCANS = 128  # progressive photos have about ten; each one more is one more pass over all pixels

_SOS, _EOI = 0xDA, 0xD9
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0-15 without DHT, JPG and DAC
_PROGRESSIVE = 0xC2
_DCT_HUFFMAN = {0xC0, 0xC1, _PROGRESSIVE}  # baseline and extended sequential are the others
_FACTORS = {1, 2, 4}
_SEGMENTS = frozenset(range(0xC0, 0xFF)) - frozenset(range(0xD0, 0xDA))  # markers with a length before the first scan
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # in entropy-coded data, FF is followed by 00 or a restart marker


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """``small``: a smaller grey picture may be asked for; ``multiple``: there may be more than one scan."""

    small: bool
    multiple: bool


def read_header(data: bytes) -> JpegHeader:
    """Walk the markers of a JPEG up to its first scan (ITU T.81, B.2).

    ``small`` is true where the decoder gives the same verdict on the bytes whatever size and colour it is asked for:
    Huffman-coded DCT frames (not lossless, not arithmetic) of one or three components with 8 bits whose sampling
    factors are powers of two. Others, such as a factor of 3, are accepted or refused by the colour and upsampling
    stages, which a grey picture never enters. Whatever is odd before the first scan is taken for not ``small``.
    """
    at, frame, kind = 2, b"", 0
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data) and data[at + 1] in _SEGMENTS:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _SOS:
            multiple = kind == _PROGRESSIVE or data[at + 4 : at + 5] != frame[5:6]
            return JpegHeader(kind in _DCT_HUFFMAN and _plain_frame(frame), multiple)
        if marker in _FRAMES:
            frame, kind = data[at + 4 : at + 2 + length], marker
        at += 2 + length
    return JpegHeader(small=False, multiple=True)


def _plain_frame(frame: bytes) -> bool:
    """Precision, height, width, components, then id, factors and table of each (ITU T.81, B.2.2)."""
    if len(frame) < 6 or frame[0] != 8 or frame[5] not in (1, 3):
        return False
    factors = frame[7::3]
    return len(factors) == frame[5] and all({factor >> 4, factor & 15} <= _FACTORS for factor in factors)


def too_many_scans(data: bytes) -> int | None:
    """The number of scans of the first picture in a JPEG where it is above ``MAX_SCANS``, else None.

    A file of a megabyte can make a decoder pass over the pixels a hundred thousand times.
    """
    if data.count(bytes((0xFF, _SOS))) <= MAX_SCANS:  # quick; counts also what thumbnails, comments and films hold
        return None
    at, scans = 2, 0
    while found := _MARKER.search(data, at):
        marker, at = found[1][0], found.end()
        if marker == _EOI:
            break
        if marker in _SEGMENTS:
            scans += marker == _SOS
            at += int.from_bytes(data[at : at + 2], "big")
    return scans if scans > MAX_SCANS else None

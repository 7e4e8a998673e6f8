"""Untrusted bytes to upright RGB pixels, in bounded time and memory.

What a file claims is checked on its bytes before Pillow works on it: a few kilobytes can ask for hours (a thousand
scans), for seconds of one core (a million empty chunks) or for gigabytes (a flat picture of 60,000 x 60,000).
"""

import re
import struct
import threading
from contextlib import nullcontext
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

from hakka.boxes import Array
from hakka.errors import InvalidInput

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_PIXELS = 64_000_000
# Photos above this are decoded one at a time: one of 64 million pixels needs half a gigabyte while it is decoded.
BIG_PIXELS = 16_000_000
# A reduced photo is still this many times the model's input: down to that, mAP is that of the whole photo.
SPARE = 1.5

# Cameras and tools write 1 scan (baseline) or some 10 (progressive); the format itself has no limit. One scan of a
# million pixels costs a core a millisecond or more.
MAX_SCANS = 100
MAX_SCANNED_PIXELS = 1_000_000_000
USUAL_SCANS = 16
# JPEG segments before the first scan; PNG chunks in all, of which long photos have thousands.
MAX_SEGMENTS = 1000
MAX_CHUNKS = 65_536

_PNG = b"\x89PNG\r\n\x1a\n"
# The next segment of a JPEG's head: a little junk, fill bytes, and its code.
_SEGMENT = re.compile(rb"[^\xff]{0,4096}\xff{1,4096}([^\x00\xff])", re.DOTALL)
_SCAN = 0xDA
_WITHOUT_LENGTH = frozenset([0x01, *range(0xD0, 0xDA)])
_ORIENTATION = 0x0112
_STRIP = 256  # rows that are copied at once
_PIECE = 1 << 20  # bytes that are looked through at once

_big = threading.Lock()


@dataclass(frozen=True)
class Photo:
    """A decoded photo: ``pixels`` (height, width, 3) uint8 RGB, upright; the size is the original's.

    Each of the pixels stands for a square of ``factor`` by ``factor`` of the original's.
    """

    pixels: Array
    width: int
    height: int
    factor: int = 1

    def in_original(self, boxes: Array) -> Array:
        """Boxes (n, 4) xyxy float32 in pixels of the original, from such in pixels of ``pixels``."""
        edges = [self.width, self.height, self.width, self.height]
        return np.asarray(np.clip(boxes * self.factor, 0, edges), np.float32)


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Array:
    """RGB pixels (height, width, 3) uint8 of a photo, in full; see :func:`decode_photo`."""
    return decode_photo(data, max_pixels=max_pixels).pixels


def decode_photo(data: bytes, *, max_pixels: int = MAX_PIXELS, model_size: int | None = None) -> Photo:
    """A JPEG, PNG or WebP file as pixels, turned upright by its EXIF orientation; of an animation the first picture.

    With ``model_size``, the side of the model's input, a larger photo comes halved, once or several times, down to no
    less than ``SPARE`` times that side: much faster for JPEG, which is decoded at that size at once.

    Raises:
        InvalidInput: the bytes are no such image, are cut short, hold more than ``max_pixels`` pixels, or are built so
            that decoding them would take unduly long.
    """
    from PIL import Image

    if not data:
        raise InvalidInput("image: must not be empty, got 0 bytes")
    try:
        _check_parts(data)
        pixels = _check_size(data, max_pixels)
        # The lock is around the call, so that what it used is free again before the next one begins.
        with _big if pixels > BIG_PIXELS else nullcontext():
            return _read(data, model_size)
    except InvalidInput:
        raise
    except Image.DecompressionBombError:
        raise InvalidInput(f"image: must hold at most {max_pixels} pixels, got far more") from None
    except Exception as error:  # Pillow raises many kinds on hostile bytes; all mean the same to the sender
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        if "cannot identify image file" in reason:
            reason = "the bytes are none of these"
        raise InvalidInput(f"image: must be a whole JPEG, PNG or WebP file: {reason}") from None


def _check_size(data: bytes, max_pixels: int) -> int:
    """The number of pixels that a file's head speaks of."""
    from PIL import Image

    with Image.open(BytesIO(data), formats=FORMATS) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise InvalidInput(f"image: must hold at most {max_pixels} pixels, got {width}x{height}")
        if image.format in ("JPEG", "MPO"):
            _check_scans(data, width, height)
    return width * height


def _read(data: bytes, model_size: int | None) -> Photo:
    from PIL import Image

    with Image.open(BytesIO(data), formats=FORMATS) as image:
        width, height = image.size
        factor = _factor(width, height, model_size)
        if factor > 1:
            image.draft(None, (max(width // factor, 1), max(height // factor, 1)))
        image.load()
        # What draft has not done: it knows only JPEG, and halves no more than three times.
        rest = factor // max(round(width / image.width), 1)
        upright, turned = _turn(image.reduce(rest) if rest > 1 else image)
        pixels = _to_array(_to_rgb(upright))
    return Photo(pixels, *((height, width) if turned else (width, height)), factor)


def _factor(width: int, height: int, model_size: int | None) -> int:
    """The power of two by which a photo may be reduced for a model."""
    factor = 1
    while model_size and max(width, height) >= 2 * factor * SPARE * model_size:
        factor *= 2
    return factor


def _check_parts(data: bytes) -> None:
    """Refuse files with so many parts that reading their heads alone takes long.

    Raises:
        InvalidInput: there are more than any camera or tool writes.
    """
    if data.startswith(_PNG):
        at = len(_PNG)
        for _ in range(MAX_CHUNKS):
            if at + 12 > len(data):
                return
            at += 12 + struct.unpack_from(">I", data, at)[0]
        raise InvalidInput(f"image: a PNG must have at most {MAX_CHUNKS} chunks, got more")
    if data.startswith(b"\xff\xd8"):
        at = 2
        for _ in range(MAX_SEGMENTS):
            found = _SEGMENT.match(data, at)
            if found is None:
                raise InvalidInput(
                    "image: must be a whole JPEG, PNG or WebP file: a JPEG's head is not made of segments"
                )
            at, code = found.end(), found[1][0]
            if code == _SCAN or at + 2 > len(data):
                return
            at += 0 if code in _WITHOUT_LENGTH else max(struct.unpack_from(">H", data, at)[0], 2)
        raise InvalidInput(f"image: a JPEG must have at most {MAX_SEGMENTS} segments before its first scan, got more")


def _check_scans(data: bytes, width: int, height: int) -> None:
    # Inside a scan 0xFF is never followed by this code, so no scan is missed; a thumbnail's may be counted too.
    # In pieces, because counting lets no other thread run; a code on a border is counted in the piece it begins in.
    code = bytes([0xFF, _SCAN])
    scans = sum(data.count(code, at, at + _PIECE + 1) for at in range(0, len(data), _PIECE))
    most = min(MAX_SCANS, max(MAX_SCANNED_PIXELS // (width * height), USUAL_SCANS))
    if scans > most:
        raise InvalidInput(f"image: a JPEG of {width}x{height} must have at most {most} scans, got {scans}")


def _turn(image: Any) -> tuple[Any, bool]:
    """The image turned upright, and whether its sides changed places; EXIF that cannot be read says nothing."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a photo whose EXIF is broken is still a photo
        orientation = 1
    turn = turns.get(orientation) if isinstance(orientation, int) else None
    return (image, False) if turn is None else (image.transpose(turn), orientation >= 5)


def _to_rgb(image: Any) -> Any:
    """Any Pillow mode as RGB; what is transparent turns white; of 16-bit grey the upper eight bits count."""
    from PIL import Image

    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        grey = np.asarray(image).clip(0, 65535).astype(np.uint16) >> 8
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", rgba.size, "white")
        white.paste(rgba, mask=rgba)
        return white
    return image.convert("RGB")


def _to_array(image: Any) -> Array:
    """The pixels of an RGB image. Pillow makes an array by two more copies, so it is done in strips."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, _STRIP):
        bottom = min(top + _STRIP, image.height)
        pixels[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    return pixels

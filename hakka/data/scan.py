"""One full look at each image: is it whole, how large is it, what is its digest, what does it look like."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile, ImageOps, ImageStat

from hakka.boxes import Array
from hakka.data.findings import printable

FORMATS = {"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png", "WEBP": "webp"}  # MPO: a JPEG with a second picture behind it
MAX_PIXELS = 178_956_970  # what Pillow itself takes for a decompression bomb
HASH_SIDE = 16
HASH_BITS = HASH_SIDE * HASH_SIDE
Progress = Callable[[int, int], None]

_ORIENTATION = 0x0112
_REDUCED = 2 * HASH_SIDE
_DCT = np.cos(np.pi * np.arange(HASH_SIDE)[:, None] * (2 * np.arange(_REDUCED)[None, :] + 1) / (2 * _REDUCED))


@dataclass(frozen=True)
class Scan:
    """What one look at an image gave.

    ``length`` is the file's size in bytes, ``width`` and ``height`` are pixels after the EXIF orientation (1–8) is
    applied. ``look`` is the 256-bit perceptual hash, ``deviation`` the standard deviation of the grey values (0–255).
    ``problem`` says why the image is not usable; the other fields then hold what was known by that time.
    """

    image: str
    length: int = 0
    sha256: str = ""
    format: str = ""
    width: int = 0
    height: int = 0
    orientation: int = 1
    look: bytes = b""
    deviation: float = 0.0
    problem: str | None = None


def scan_images(root: Path, images: Iterable[str], progress: Progress | None = None) -> dict[str, Scan]:
    """A ``Scan`` of every image (paths relative to ``root``), in their order; a bad image is a scan with a problem."""
    names = list(images)
    scans: dict[str, Scan] = {}
    with _strict_decoding(), ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        try:
            for scan in pool.map(lambda name: scan_image(root, name), names):
                scans[scan.image] = scan
                if progress is not None:
                    progress(len(scans), len(names))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return scans


def scan_image(root: Path, image: str) -> Scan:
    """Read and fully decode one image; never raises for what is in the file."""
    path = root / image
    if not path.is_file():
        return Scan(image, problem="no such image file")
    try:
        data = path.read_bytes()
    except OSError as error:
        return Scan(image, problem=f"the file cannot be read: {error.strerror}")
    known: dict[str, Any] = {"image": image, "length": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    if not data:
        return Scan(**known, problem="the file is empty")
    try:
        return _decode(data, known)
    except Exception as error:  # decoders raise a dozen kinds of error on hostile bytes; all mean the same here
        message = " ".join(str(error).split()).strip("'\"") or type(error).__name__
        return Scan(**known, problem=f"the image does not decode to its end: {printable(message)}")


def _decode(data: bytes, known: dict[str, Any]) -> Scan:
    with Image.open(BytesIO(data)) as picture:
        kind = FORMATS.get(picture.format or "")
        if kind is None:
            return Scan(**known, problem=f"an image must be JPEG, PNG or WebP, got {picture.format}")
        width, height = picture.size
        known |= {"format": kind, "width": width, "height": height}
        if width * height > MAX_PIXELS:
            return Scan(**known, problem=f"an image may have {MAX_PIXELS} pixels at most, got {width} x {height}")
        orientation = _orientation(picture)
        if orientation >= 5:
            known |= {"width": height, "height": width}
        grey = picture.convert("L")
    deviation = float(ImageStat.Stat(grey).stddev[0])
    return Scan(**known, orientation=orientation, look=_look(grey, orientation), deviation=round(deviation, 3))


def _orientation(picture: Image.Image) -> int:
    try:
        value = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # broken EXIF says nothing about the pixels
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _look(grey: Image.Image, orientation: int) -> bytes:
    """Perceptual hash: the signs of the 16 x 16 lowest DCT frequencies against their median (Zauner, 2010, pHash).

    256 bits instead of the usual 64, because photos of one kitchen table share their coarsest frequencies.
    """
    small = grey.resize((_REDUCED, _REDUCED), Image.Resampling.LANCZOS)
    small.getexif()[_ORIENTATION] = orientation
    values = np.asarray(ImageOps.exif_transpose(small), dtype=float)
    frequencies = np.round(_DCT @ values @ _DCT.T, 2).ravel()  # rounded: no bit may hang on the last digit of a sum
    return np.packbits(frequencies > np.median(frequencies[1:])).tobytes()


def distances(look: Array, looks: Array) -> Array:
    """(n,) bits in which ``look`` (4,) differs from each of ``looks`` (n, 4); both as ``look_words`` gives them."""
    differing: Array = np.bitwise_count(looks ^ look).sum(axis=1, dtype=np.int64)
    return differing


def look_words(scans: Iterable[Scan]) -> Array:
    """(n, 4) uint64 words of the scans' perceptual hashes."""
    return np.frombuffer(b"".join(scan.look for scan in scans), dtype=np.uint64).reshape(-1, HASH_BITS // 64)


@contextmanager
def _strict_decoding() -> Iterator[None]:
    """Pillow's switches for this scan: no mercy for truncated files, and our own limit on pixels."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
    ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = False, None
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = before

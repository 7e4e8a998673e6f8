"""One full look at each image: is it whole, how large is it, what is its digest, what does it look like."""

import hashlib
import json
import os
import stat
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hakka.boxes import Array
from hakka.cores import usable_cores
from hakka.data.decode import Picture, Unusable, decode, one_at_a_time, strict_decoding
from hakka.errors import InvalidInput
from hakka.files import whole_file
from hakka.texts import printable

MAX_BYTES = 1 << 29
LARGE_BYTES = 1 << 26  # files from here on are read one at a time, so that memory stays bounded
HASH_SIDE = 16
HASH_BITS = HASH_SIDE * HASH_SIDE
Progress = Callable[[int, int], None]

_BATCH = 1024  # images that wait for a thread
_TASK = 4  # images a thread takes at a time, because handing over costs as much as a small thing
_STEP = 8192  # hashes whose bits are put in order at a time
_REDUCED = 2 * HASH_SIDE
_DCT = np.cos(np.pi * np.arange(HASH_SIDE)[:, None] * (2 * np.arange(_REDUCED)[None, :] + 1) / (2 * _REDUCED))


@dataclass(frozen=True, slots=True)
class Scan:
    """What one look at an image gave.

    ``length`` is the file's size in bytes, ``width`` and ``height`` are pixels after the EXIF orientation (1–8) is
    applied. ``look`` is the 256-bit perceptual hash. ``deviation`` and ``brightness`` are the standard deviation and
    the mean of the grey values (0–255); a deviation from 16 on is that of means of blocks, see ``hakka.data.decode``.
    ``filled`` is the share (0–1) of the rows that lack, filled with grey, at the lower end of a JPEG.
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
    brightness: float = 0.0
    filled: float = 0.0
    problem: str | None = None


_FIELDS: dict[str, Any] = {field.name: field.type for field in fields(Scan)} | {"look": str}


def scan_images(root: Path, images: Iterable[str], progress: Progress | None = None) -> dict[str, Scan]:
    """A ``Scan`` of every image (paths relative to ``root``), in their order; a bad image is a scan with a problem.

    ``progress`` is called with (images looked at, images in all). Threads are enough for all cores, because reading,
    hashing and decoding leave the interpreter free. Beyond the scans, memory holds one image a core, and one large one.
    """
    names = list(images)
    scans: dict[str, Scan] = {}
    for scan in iter_scans(root, names):
        scans[scan.image] = scan
        if progress is not None:
            progress(len(scans), len(names))
    return scans


def iter_scans(root: Path, images: Iterable[str]) -> Generator[Scan, None, None]:
    """The scans of ``scan_images`` one by one, in their order; close it if not all are asked for."""
    waiting = iter(images)
    with strict_decoding(), ThreadPoolExecutor(max_workers=usable_cores()) as pool:
        try:
            while batch := list(islice(waiting, _BATCH)):
                tasks = [batch[i : i + _TASK] for i in range(0, len(batch), _TASK)]
                for scans in pool.map(lambda task: [scan_image(root, image) for image in task], tasks):
                    yield from scans
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def scan_image(root: Path, image: str) -> Scan:
    """Read and decode one image to its end; never raises for what is in the file."""
    try:
        about = (root / image).stat()
        if not stat.S_ISREG(about.st_mode):
            return Scan(image, problem="an image must be a regular file")
        if about.st_size > MAX_BYTES:
            return Scan(image, problem=f"an image file may have {MAX_BYTES} bytes at most, got {about.st_size}")
        with one_at_a_time(about.st_size > LARGE_BYTES):
            return _look_at(image, _read(root / image, about.st_size))
    except (FileNotFoundError, NotADirectoryError):
        return Scan(image, problem="no such image file")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return Scan(image, problem=f"the file cannot be read: {reason}")


def _read(path: Path, length: int) -> bytes:
    """The first ``length`` bytes of a file; does not wait for a pipe that has just taken the file's place."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as file:  # noqa: PTH123  (a descriptor)
        data = file.read(length) or b""
        while len(data) < length and (more := file.read(length - len(data))):
            data += more
    return data


def _look_at(image: str, data: bytes) -> Scan:
    known: dict[str, Any] = {"image": image, "length": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    if not data:
        return Scan(**known, problem="the file is empty")
    picture, problem = Picture(), None
    try:
        decode(data, picture)
    except Unusable as error:
        problem = str(error)
    except Exception as error:  # decoders raise a dozen kinds of error on hostile bytes; all mean the same here
        message = " ".join(str(error).split()).strip("'\"") or type(error).__name__
        problem = f"the image does not decode to its end: {printable(message)}"
    turned = picture.orientation >= 5
    known |= {
        "format": picture.format,
        "width": picture.height if turned else picture.width,
        "height": picture.width if turned else picture.height,
        "orientation": picture.orientation,
        "problem": problem,
    }
    if problem is not None or picture.grey is None:
        return Scan(**known)
    measured = {name: getattr(picture, name) for name in ("deviation", "brightness", "filled")}
    return Scan(**known, **measured, look=perceptual_hash(picture.grey, picture.orientation))


def perceptual_hash(grey: Image.Image, orientation: int = 1) -> bytes:
    """The signs of the 16 x 16 lowest DCT frequencies against their median (Zauner, 2010, pHash), as 32 bytes.

    256 bits instead of the usual 64, because photos of one kitchen table share their coarsest frequencies. The picture
    is turned upright by its EXIF ``orientation`` (1–8) first.
    """
    small = np.asarray(grey.resize((_REDUCED, _REDUCED), Image.Resampling.LANCZOS), dtype=float)
    frequencies = np.round(
        _DCT @ _upright(small, orientation) @ _DCT.T, 2
    ).ravel()  # no bit hangs on a sum's last digit
    return np.packbits(frequencies > np.sort(frequencies[1:])[len(frequencies) // 2 - 1]).tobytes()


def _upright(values: Array, orientation: int) -> Array:
    """(n, n) grey values turned and mirrored as EXIF 1–8 asks (CIPA DC-008, table of tag 0x0112)."""
    if orientation >= 5:
        values = values.T
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return values[:, ::-1] if orientation in (2, 3, 6, 7) else values


def write_scans(path: Path, scans: Iterable[Scan]) -> None:
    """Write scans as JSON lines, one a scan, in their order; the file appears whole."""
    with whole_file(path) as file:
        for scan in scans:
            file.write(scan_line(scan))


def scan_line(scan: Scan) -> bytes:
    """A scan as a line of JSON, as ``read_scans`` reads them."""
    values = {name: getattr(scan, name) for name in _FIELDS} | {"look": scan.look.hex()}
    return json.dumps(values).encode() + b"\n"


def read_scans(path: Path) -> dict[str, Scan]:
    """The scans that ``write_scans`` wrote, by image, in their order.

    Raises:
        InvalidInput: the file is missing, or a line of it is not a scan.
    """
    try:
        with path.open("rb") as file:
            scans = [_read_scan(path, number, line) for number, line in enumerate(file, 1)]
    except OSError as error:
        raise InvalidInput(f"{path}: the scans cannot be read: {error.strerror or error}") from None
    return {scan.image: scan for scan in scans}


def _read_scan(path: Path, number: int, line: bytes) -> Scan:
    try:
        value = json.loads(line)
        if not isinstance(value, dict) or value.keys() != _FIELDS.keys():
            raise ValueError(f"must have the fields {', '.join(_FIELDS)}")
        for name, kind in _FIELDS.items():
            if not isinstance(value[name], kind) or isinstance(value[name], bool):
                raise ValueError(f"{name} has a value of the wrong kind: {value[name]!r:.60}")
        look = bytes.fromhex(value["look"])
        if len(look) not in ((HASH_BITS // 8,) if value["problem"] is None else (0, HASH_BITS // 8)):
            raise ValueError(f"look must be {HASH_BITS} bits, got {8 * len(look)}")
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"line {number} of {path}: {error}") from None
    return Scan(**{**value, "look": look})


def look_words(scans: Iterable[Scan]) -> Array:
    """(n, 4) uint64: a word for each quarter of the scans' perceptual hashes.

    The quarters hold the frequencies that are even in both directions, odd across only, odd down only, and odd in both:
    a photo that is mirrored has the same even ones and the opposite odd ones.
    """
    looks = np.frombuffer(b"".join(scan.look for scan in scans), dtype=np.uint8).reshape(-1, HASH_BITS // 8)
    words = np.empty((len(looks), 4), dtype=np.uint64)
    for i in range(0, len(looks), _STEP):
        bits = np.unpackbits(looks[i : i + _STEP], axis=1).reshape(-1, HASH_SIDE // 2, 2, HASH_SIDE // 2, 2)
        quarters = bits.transpose(0, 2, 4, 1, 3).reshape(-1, HASH_BITS)
        words[i : i + _STEP] = np.packbits(quarters, axis=1).view(np.uint64)
    return words

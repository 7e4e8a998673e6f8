"""Decode an image as little as it takes to know that it decodes to its end, and what it looks like.

Why a small picture is enough for a JPEG. A decoder that is asked for a grey picture at 1/2, 1/4 or 1/8 of the size
reads every marker, every table and every entropy-coded bit as for the full one, because no later bit can be found
without the earlier ones; what it leaves out comes behind: inverse DCT of the high frequencies and of the colours,
upsampling, colour conversion. Everything that libjpeg refuses in the first part (missing bytes, broken tables, markers
out of place) is refused at any size; the refusals of the second part hang on the header alone, and
``hakka.data.jpeg.read_header`` lets only headers through that have none. Every iMCU row gives at least one row of the
small picture, so its last row needs the last bit as well. All other images are decoded in full.
"""

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from io import BytesIO
from threading import RLock

import numpy as np
from PIL import (  # noqa: F401  (the plugins are registered here once and not by the first thread that meets a WebP)
    Image,
    ImageFile,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from hakka.data.jpeg import MAX_SCANS, read_header, too_many_scans

FORMATS = {"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png", "WEBP": "webp"}  # MPO: a JPEG with a second picture behind it
MAX_PIXELS = 178_956_970  # what Pillow itself takes for a decompression bomb
MAX_DECODED = 100_000_000  # pixels of an image that cannot be decoded small: five bytes each are in memory at once
LARGE_PIXELS = 40_000_000  # images from here on are decoded one at a time, so that memory stays bounded
SMALL_SIDE = 64  # pixels that the short side of a small picture keeps
EXACT_BELOW = 16.0  # a deviation of block means below this is measured again on all pixels
FILL = 128  # the grey that libjpeg puts where a file's data ended before its last row

_ORIENTATION = 0x0112
_TAKEN = (b"\xff\xd8", b"\x89PNG", b"RIFF")
_OTHERS = ((b"GIF8", "GIF"), (b"BM", "BMP"), (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"%PDF", "PDF"))
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIC", b"msf1": "HEIC"}
_POWERS = np.stack([np.arange(256) ** power for power in range(3)])
_one_large_image = RLock()


class Unusable(Exception):
    """The image breaks a rule of ours; the message is the rule and what was found."""


@dataclass(slots=True)
class Picture:
    """What decoding gave; the fields are filled in their order, and hold what was known when it failed.

    ``width``, ``height`` and ``grey`` are as stored, before EXIF ``orientation`` (1–8). ``grey`` is the picture in grey
    values (0–255) at the largest of the scales 1/8, 1/4, 1/2 and 1 that leaves ``SMALL_SIDE`` pixels on the short side.
    ``deviation`` and ``brightness`` are the standard deviation and the mean of the grey values, see ``decode``.
    ``filled`` is the share (0–1) of a JPEG's rows, counted from the lower end, that hold nothing but ``FILL``.
    """

    format: str = ""
    width: int = 0
    height: int = 0
    orientation: int = 1
    grey: Image.Image | None = None
    deviation: float = 0.0
    brightness: float = 0.0
    filled: float = 0.0


def decode(data: bytes, picture: Picture) -> None:
    """Decode ``data`` to its last byte and fill ``picture`` in.

    ``deviation`` is that of the whole blocks' means in the small picture where it is ``EXACT_BELOW`` or more, and else
    that of all pixels. The means of blocks deviate by less than the pixels do (by the variance within the blocks), up
    to one grey value of rounding: whoever asks whether a deviation is at least T, for T up to 14, gets the answer that
    all pixels would give.

    Raises:
        Unusable: the image breaks a rule of ours.
        Exception: decoders raise a dozen kinds of error on hostile bytes; all mean that the image does not decode.
    """
    with _open(data) as image:
        picture.format = FORMATS[image.format or ""]
        picture.width, picture.height = image.size
        pixels = picture.width * picture.height
        if pixels > MAX_PIXELS:
            raise Unusable(f"an image may have {MAX_PIXELS} pixels at most, got {picture.width} x {picture.height}")
        with one_at_a_time(pixels > LARGE_PIXELS):
            picture.orientation = _orientation(image)
            if picture.format == "jpeg":
                _decode_jpeg(data, image, picture)
            else:
                _decode_whole(image, picture)


def _decode_jpeg(data: bytes, image: Image.Image, picture: Picture) -> None:
    header = read_header(data)
    if header.multiple and (scans := too_many_scans(data)) is not None:
        raise Unusable(f"a JPEG may have {MAX_SCANS} scans at most, got {scans}")
    if not header.small:
        _decode_whole(image, picture)
        return
    image.draft("L", (SMALL_SIDE, SMALL_SIDE))
    image.load()
    _measure(picture, image, full=False)
    picture.filled = _filled(image)
    if picture.deviation < EXACT_BELOW and image.size != (picture.width, picture.height):
        with _open(data) as again:
            again.draft("L", again.size)
            again.load()
            picture.deviation, picture.brightness = _statistics(again)


def _decode_whole(image: Image.Image, picture: Picture) -> None:
    if picture.width * picture.height > MAX_DECODED:
        size = f"{picture.width} x {picture.height}"
        raise Unusable(f"an image that is no plain JPEG may have {MAX_DECODED} pixels at most, got {size}")
    _measure(picture, _grey(image), full=True)


def _measure(picture: Picture, grey: Image.Image, *, full: bool) -> None:
    """Keep the small grey picture and its statistics; ``full``: ``grey`` has all pixels."""
    scale = _scale(picture.width, picture.height)
    if full:
        picture.deviation, picture.brightness = _statistics(grey)
        picture.grey = grey.reduce(scale) if scale > 1 else grey
    else:
        whole = grey.crop((0, 0, picture.width // scale, picture.height // scale))  # the last blocks hold padding
        picture.deviation, picture.brightness = _statistics(whole)
        picture.grey = grey


def _scale(width: int, height: int) -> int:
    return next((scale for scale in (8, 4, 2) if min(width, height) >= scale * SMALL_SIDE), 1)


def _statistics(grey: Image.Image) -> tuple[float, float]:
    """Standard deviation and mean of grey values, from whole numbers and therefore the same everywhere."""
    counts = np.array(grey.histogram())
    pixels, total, squares = (_POWERS @ counts).tolist()
    variance = (squares * pixels - total * total) / (pixels * pixels)
    return round(variance**0.5, 3), round(total / pixels, 3)


def _filled(grey: Image.Image) -> float:
    """The share (0–1) of rows at the lower end that hold nothing but ``FILL``."""
    if grey.getpixel((0, grey.height - 1)) != FILL:
        return 0.0
    painted = np.flatnonzero((np.asarray(grey) != FILL).any(axis=1))
    return round(1 - (int(painted[-1]) + 1 if len(painted) else 0) / grey.height, 3)


def _grey(image: Image.Image) -> Image.Image:
    """The whole image in grey values; of 16 bits the upper eight."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert("L")


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(BytesIO(data), formats=("JPEG", "PNG", "WEBP"))
    except UnidentifiedImageError:
        if data.startswith(_TAKEN):
            raise Unusable("the image does not decode to its end: its header is broken") from None
        raise Unusable(f"an image must be JPEG, PNG or WebP, got {_kind(data[:12])}") from None


def _kind(head: bytes) -> str:
    """The name of a format that is not taken."""
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:], "a film")
    return next((name for magic, name in _OTHERS if head.startswith(magic)), "something else")


def one_at_a_time(large: bool) -> AbstractContextManager[object]:
    """Wait here while another thread has a large image in memory, if this one is ``large``."""
    return _one_large_image if large else nullcontext()


def _orientation(image: Image.Image) -> int:
    if image.format in ("JPEG", "MPO") and not ({"exif", "xmp"} & image.info.keys()):
        return 1
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # broken EXIF says nothing about the pixels
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


@contextmanager
def strict_decoding() -> Iterator[None]:
    """Pillow's switches for a scan: no mercy for truncated files, our own limit on pixels, no warnings to the side."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
    ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = False, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = before

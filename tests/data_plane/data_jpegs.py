"""JPEGs, PNGs and WebPs of every make, and the plain full decode that the scan's verdict is held against."""

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image

SIZE = (530, 522)  # decoded at 1/8 by the scan, and no multiple of a block


def picture(mode: str = "RGB", seed: int = 0, size: tuple[int, int] = SIZE) -> Image.Image:
    """A photo-like picture: soft shapes under noise."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (9, 9, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    noise = rng.normal(0, 12, (size[1], size[0], 3))
    return Image.fromarray(np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8)).convert(mode)


def encode(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that says to be so large, and holds the pixels of a small one."""
    data = encode(picture(size=(9, 9)), "PNG")
    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def exif(orientation: int, thumbnail: bytes = b"") -> bytes:
    about = Image.Exif()
    about[0x0112] = orientation
    if thumbnail:
        about[0x010E] = thumbnail  # any tag will do: the bytes lie in the header
    return about.tobytes()


def segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def split_jpeg(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The segments (marker, payload) before the scan's data, SOS as the last of them, and the data without EOI."""
    at, segments = 2, []
    while not segments or segments[-1][0] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        segments.append((data[at + 1], data[at + 4 : at + 2 + length]))
        at += 2 + length
    return segments, data[at : data.rindex(b"\xff\xd9")]


def three_scans(repeat: int = 1) -> bytes:
    """A sequential JPEG whose three components come one after the other, each in a scan (or ``repeat``) of its own."""
    parts = [split_jpeg(encode(picture("L", seed))) for seed in range(3)]
    tables = {0xC4: b"", 0xDB: b""}
    for marker, payload in parts[0][0]:
        if marker in tables:
            tables[marker] += payload
    frame = struct.pack(">BHHB", 8, SIZE[1], SIZE[0], 3) + b"".join(bytes((i, 0x11, 0)) for i in (1, 2, 3))
    scans = [segment(0xDA, bytes((1, i + 1, 0, 0, 63, 0))) + data for i, (_, data) in enumerate(parts)]
    head = b"\xff\xd8" + segment(0xDB, tables[0xDB]) + segment(0xC0, frame) + segment(0xC4, tables[0xC4])
    return head + b"".join(scans) * repeat + b"\xff\xd9"


def change_frame(data: bytes, **changes: int) -> bytes:
    """A JPEG whose frame header says something else: ``marker``, ``height``, ``width`` or ``factors`` of the first."""
    segments, scan = split_jpeg(data)
    out = b"\xff\xd8"
    for marker, payload in segments:
        if 0xC0 <= marker <= 0xC2:
            head = list(struct.unpack(">BHHB", payload[:6]))
            head[1], head[2] = changes.get("height", head[1]), changes.get("width", head[2])
            rest = bytearray(payload[6:])
            rest[1] = changes.get("factors", rest[1])
            marker, payload = changes.get("marker", marker), struct.pack(">BHHB", *head) + bytes(rest)
        out += segment(marker, payload)
    return out + scan + b"\xff\xd9"


def many_scans(count: int, size: tuple[int, int] = (64, 64)) -> bytes:
    """A progressive JPEG with ``count`` scans, most of them empty refinements that say the same again."""
    data = encode(picture("L", 1, size), progressive=True)
    again = segment(0xDA, bytes((1, 1, 0, 1, 5, 0)))
    return data[: data.rindex(b"\xff\xd9")] + again * (count - data.count(b"\xff\xda")) + b"\xff\xd9"


PLAIN = encode(picture())
MAKES = {
    "grey": encode(picture("L")),
    "4:2:0": PLAIN,
    "4:2:2": encode(picture(), subsampling="4:2:2"),
    "4:4:4": encode(picture(), subsampling="4:4:4"),
    "optimised": encode(picture(), optimize=True, quality=95),
    "progressive 4:2:0": encode(picture(), progressive=True),
    "progressive 4:4:4": encode(picture(), progressive=True, subsampling="4:4:4", quality=95),
    "progressive grey": encode(picture("L"), progressive=True),
    "CMYK": encode(picture("CMYK")),
    "CMYK progressive": encode(picture("CMYK"), progressive=True),
    "restarts a row": encode(picture(), restart_marker_rows=1),
    "restarts a block": encode(picture(), restart_marker_blocks=1),
    "restarts progressive": encode(picture(), progressive=True, restart_marker_rows=2),
    "EXIF": encode(picture(), exif=exif(6, b"\xff\xd8\xff\xda\xff\xd9" * 40)),
    "RGB inside": encode(picture(), keep_rgb=True),
    "three scans": three_scans(),
    "trailing junk": PLAIN + b"\xff\xda\xff\xc0 no picture" * 30,
    "two pictures": encode(picture(), "MPO", save_all=True, append_images=[picture(seed=1)]),
    "PNG": encode(picture(size=(90, 70)), "PNG"),
    "PNG palette": encode(picture(size=(90, 70)).quantize(16), "PNG"),
    "WebP": encode(picture(size=(90, 70)), "WEBP"),
    "WebP lossless": encode(picture(size=(90, 70)), "WEBP", lossless=True),
}
JPEGS = {name: data for name, data in MAKES.items() if data.startswith(b"\xff\xd8")}


def full_verdict(data: bytes) -> str | None:
    """What Pillow's plain decode of all pixels says: None, or why not."""
    try:
        with Image.open(BytesIO(data)) as image:
            image.load()
    except Exception as error:
        return " ".join(str(error).split()) or type(error).__name__
    return None

"""Small pictures with boxes for the HTML reports."""

import base64
import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from hakka.boxes import Array, cxcywh_to_xyxy
from hakka.drawing import draw_detections
from hakka.texts import visible

MOST_PIXELS = 64_000_000  # a larger image would keep the report waiting for seconds
_MOST_BOXES = 60  # drawn on one picture, the largest first; more than that hide the photo
_MOST_LETTERS = 24
_QUALITY = 78


def thumbnail(path: Path, boxes: Array | None, names: Sequence[str], side: int = 220) -> str | None:
    """A ``data:`` URI of a JPEG whose longer side is ``side`` pixels at most, upright, its boxes drawn and named.

    ``boxes`` is (n, 5): class, cx, cy, w, h in shares (0–1) of the sides of the upright image; ``names`` are the class
    names by index. The same file and boxes give the same text. None where the image is missing, too large or cannot be
    decoded: this never raises for what is in a file. A JPEG is decoded at a fraction of its size.
    """
    try:
        if not path.is_file():
            return None
        with Image.open(path) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                return None
            share = min(side / max(picture.size), 1.0)
            size = max(round(share * picture.width), 1), max(round(share * picture.height), 1)
            picture.draft("RGB", size)
            small = ImageOps.exif_transpose(picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))
        drawn = _draw_boxes(small, boxes, names)
    except Exception:  # decoders raise a dozen kinds of error on hostile bytes; all mean that there is no picture
        return None
    target = BytesIO()
    drawn.save(target, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(target.getvalue()).decode()


def _draw_boxes(picture: Image.Image, boxes: Array | None, names: Sequence[str]) -> Image.Image:
    shown = [] if boxes is None else [row for row in boxes.tolist() if all(map(math.isfinite, row))]
    shown.sort(key=lambda row: -row[3] * row[4])  # small boxes and their names lie above large ones
    rows = shown[:_MOST_BOXES]
    labels = [_name_of(int(row[0]), names) for row in rows]
    corners = cxcywh_to_xyxy(np.array(rows, dtype=float).reshape(-1, 5)[:, 1:], *picture.size)
    return draw_detections(picture, corners.tolist(), labels)


def _name_of(label: int, names: Sequence[str]) -> str:
    name = names[label] if 0 <= label < len(names) else str(label)
    text = " ".join(visible(name).split())
    return text if len(text) <= _MOST_LETTERS else text[: _MOST_LETTERS - 1] + "…"

"""Boxes and names on a photo: one picture for the app and for ``hakka predict``.

Every length follows the size of the image, so a thumbnail and a 12-megapixel photo look the same when shown at the same
size. A class name always has the same colour, in every photo and in every process.
"""

import colorsys
import zlib
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Corners = tuple[float, float, float, float]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_FONT = "DejaVuSans-Bold.ttf"  # knows more alphabets than Pillow's own font, which stands in where it is not installed
_LIGHTNESS = (0.36, 0.46, 0.56)


def class_colour(name: str) -> Colour:
    """The RGB colour of a class name: strong enough to stand out on food, the same in every process."""
    number = zlib.crc32(name.encode())
    red, green, blue = colorsys.hls_to_rgb(number / 2**32, _LIGHTNESS[number % len(_LIGHTNESS)], 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)


def text_colour(background: Colour) -> Colour:
    """Black or white, whichever has the higher contrast on ``background`` (relative luminance as in WCAG 2)."""
    red, green, blue = ((value / 255) ** 2.2 for value in background)
    return (0, 0, 0) if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else (255, 255, 255)


def draw_detections(
    image: Image.Image, boxes: Sequence[Sequence[float]], names: Sequence[str], scores: Sequence[float] | None = None
) -> Image.Image:
    """A copy of ``image`` (RGB) with each box, its name and its confidence; the image itself is not changed.

    Args:
        image: any mode; a transparent one is laid on white.
        boxes: n corners (left, top, right, bottom) in pixels of ``image``; parts outside of it are not drawn.
        names: n class names; underscores are shown as spaces.
        scores: n confidences from 0 to 1. A surer box is drawn over a less sure one. None for boxes that people drew:
            a later one is drawn over an earlier one, and no confidence is written.

    Raises:
        ValueError: the three have different lengths.
    """
    picture = _on_white(image)
    draw = ImageDraw.Draw(picture)
    short = min(picture.size)
    line = max(2, round(short / 180))
    font = _load_font(max(11, round(short / 38)))
    sure = [None] * len(boxes) if scores is None else [float(score) for score in scores]
    found = sorted(zip(boxes, names, sure, strict=True), key=lambda item: item[2] or 0.0)
    shown = [(_clip(box, picture.size), name, score) for box, name, score in found]
    for box, name, _ in shown:
        draw.rectangle(box, outline=class_colour(name), width=line)
    taken: list[Corners] = []
    for box, name, score in reversed(shown):  # the surest label gets the best place
        taken.append(_draw_label(draw, box, name, score, font, picture.size, taken))
    return picture


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB") if image.mode != "RGB" else image.copy()
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")


def _clip(box: Sequence[float], size: tuple[int, int]) -> Corners:
    """The box inside of the image, at least one pixel wide and high, corners in order."""
    width, height = size
    left, top, right, bottom = (float(value) for value in box)
    left, right = sorted((min(max(left, 0), width - 1), min(max(right, 0), width - 1)))
    top, bottom = sorted((min(max(top, 0), height - 1), min(max(bottom, 0), height - 1)))
    return left, top, right, bottom


def _load_font(size: int) -> Font:
    try:
        return ImageFont.truetype(_FONT, size)
    except OSError:
        return ImageFont.load_default(size)


def _draw_label(
    draw: ImageDraw.ImageDraw,
    box: Corners,
    name: str,
    score: float | None,
    font: Font,
    size: tuple[int, int],
    taken: Sequence[Corners],
) -> Corners:
    """Write one label on its class colour and return the place that it took."""
    text = name.replace("_", " ") + ("" if score is None else f" {score:.0%}")
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    pad = max(2, round((bottom - top) / 4))
    place = _label_place(box, right - left + 2 * pad, bottom - top + 2 * pad, size, taken)
    colour = class_colour(name)
    draw.rounded_rectangle(place, radius=pad, fill=colour)
    draw.text((place[0] + pad - left, place[1] + pad - top), text, font=font, fill=text_colour(colour))
    return place


def _label_place(box: Corners, width: float, height: float, size: tuple[int, int], taken: Sequence[Corners]) -> Corners:
    """Where a label goes: above the box, inside its top, inside its bottom or below; the first that is free.

    A label never leaves the image. If no place is free, the first one that fits is used.
    """
    left, top, right, bottom = box
    x = max(0.0, min(left, size[0] - 1 - width))
    x_right = max(0.0, min(right - width, size[0] - 1 - width))
    corners = [(x, top - height), (x, top), (x_right, top - height), (x, bottom - height), (x, bottom)]
    places = [(a, b, a + width, b + height) for a, b in corners if b >= 0 and b + height < size[1]]
    if not places:
        y = max(0.0, min(top, size[1] - 1 - height))
        return x, y, x + width, y + height
    return next((place for place in places if not any(_overlap(place, other) for other in taken)), places[0])


def _overlap(a: Corners, b: Corners) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]

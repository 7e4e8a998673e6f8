"""LabelMe JSON in: one file an image, beside it or in a folder of its own."""

import math
from collections.abc import Iterable
from typing import Any

from hakka.data.formats.annotations import Annotations
from hakka.data.formats.gathering import Gathering
from hakka.data.formats.locate import folder_split
from hakka.data.formats.shapes import Bounds, ellipse_bounds, points, polygon_bounds
from hakka.data.listing import Listing
from hakka.texts import short

_WITHOUT_AREA = ("point", "points", "line", "linestrip")
_LEAST_POINTS = {"polygon": 3, "rectangle": 2, "oriented_rectangle": 4, "rotation": 4, "circle": 2, "mask": 2}


def is_labelme(value: Any) -> bool:
    """True for the content of a LabelMe file."""
    return isinstance(value, dict) and "shapes" in value and ("imagePath" in value or "imageData" in value)


def count_labelme(value: Any) -> int:
    """The images in a LabelMe file: one."""
    return 1


def read_labelme(listing: Listing, documents: Iterable[tuple[str, Any]]) -> Annotations:
    """Images, boxes and names of LabelMe files (name, content).

    ``imagePath`` is the image, from the folder of the JSON file; where that is not in the source, the image with the
    same name or stem is taken, and said so. ``imageData`` is not looked at. ``imageWidth`` and ``imageHeight`` are the
    claim. Polygons, rectangles (plain and turned), circles (centre and a point of the edge) and masks (their corner
    pixels, both inside) become boxes; points and lines have no area and are refused.
    """
    gathering = Gathering(listing)
    files = []
    for file, value in documents:
        files.append(file)
        _read(gathering, file, value)
    return gathering.annotations("labelme", files)


def _read(gathering: Gathering, file: str, value: dict[str, Any]) -> None:
    record = gathering.start(file, folder_split(file))
    gathering.locate(record, [value.get("imagePath")], file, one_image=True)
    gathering.claim(record, value.get("imageWidth"), value.get("imageHeight"))
    shapes = value["shapes"]
    if not isinstance(shapes, list):
        gathering.refuse(record, f"{record.place}: shapes must be a list, got {short(shapes)}")
        shapes = []
    for i, shape in enumerate(shapes):
        label = shape.get("label") if isinstance(shape, dict) else None
        gathering.add(record, i, "shape", label, _bounds(shape))
    gathering.finish(record)


def _bounds(shape: Any) -> Bounds | str:
    if not isinstance(shape, dict):
        return f"must be an object, got {short(shape)}"
    kind = shape.get("shape_type") or "polygon"  # files of LabelMe 3 know only polygons and do not say so
    if kind in _WITHOUT_AREA:
        return f"a {kind} has no area, so it has no box"
    least = _LEAST_POINTS.get(kind) if isinstance(kind, str) else None
    if least is None:
        return f"shape_type must be one of {', '.join(_LEAST_POINTS)}, got {short(kind)}"
    corners = points(shape.get("points"), least)
    if isinstance(corners, str):
        return f"{kind}: {corners}"
    if kind in ("circle", "mask") and len(corners) != 2:
        return f"a {kind} must have 2 points, got {len(corners)}"
    if kind == "circle":
        (x, y), edge = corners
        radius = math.dist((x, y), edge)
        return ellipse_bounds(x, y, radius, radius)
    left, top, right, bottom = polygon_bounds(corners)
    return (left, top, right + 1, bottom + 1) if kind == "mask" else (left, top, right, bottom)

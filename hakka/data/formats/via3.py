"""Projects of VIA 3, where files, views, attributes and regions are tables that point at each other.

A view shows one file (or several, which is no image); a region belongs to a view by ``vid``; its ``xy`` is the number
of the shape and the coordinates; its ``av`` maps attribute ids to values.
"""

import math
from typing import Any

from hakka.data.formats.shapes import Bounds, ellipse_bounds, number, polygon_bounds, rectangle_bounds
from hakka.texts import short

_TABLES = ("project", "file", "view", "attribute", "metadata")
_IMAGE = 2  # type of a file; 4 is video, 8 is audio
_SHAPES = {2: "rectangle", 3: "circle", 4: "ellipse", 7: "polygon", 8: "rectangle by its extreme points", 9: "circle"}
_WITHOUT_AREA = {1: "point", 5: "line", 6: "polyline"}
_CHECKBOX, _RADIO, _SELECT = 2, 3, 4  # types of attributes whose values are ids of options

Region = tuple[Any, Bounds | str]  # attributes by name, bounds or the reason why there are none


def is_via3(value: Any) -> bool:
    """True for the content of a VIA 3 project file."""
    return isinstance(value, dict) and all(isinstance(value.get(key), dict) for key in _TABLES)


class Project3:
    """``images`` are (view id, names of the file, reason why it is no image); ``regions`` are by view id.

    ``orphans`` are (place in the table, reason) of regions that no view shows.
    """

    def __init__(self, value: dict[str, Any]) -> None:
        self._files: dict[str, Any] = value["file"]
        self._attributes: dict[str, Any] = value["attribute"]
        self.images = [(key, *self._image(view)) for key, view in value["view"].items()]
        self.regions: dict[str, list[Region]] = {}
        self.orphans: list[tuple[int, str]] = []
        for i, item in enumerate(value["metadata"].values()):
            if isinstance(item, dict) and item.get("xy") in ([], None):
                continue  # attributes of the file or of a stretch of time, no region
            vid = item.get("vid") if isinstance(item, dict) else None
            if isinstance(vid, int | str) and str(vid) in value["view"]:
                self.regions.setdefault(str(vid), []).append(self._region(item))
            else:
                self.orphans.append((i, f"orphan: no view has the id {short(vid)}"))

    def _image(self, view: Any) -> tuple[list[Any], str]:
        fids = view.get("fid_list") if isinstance(view, dict) else None
        if not isinstance(fids, list) or len(fids) != 1:
            return [], f"a view must show one file, got {short(fids)}"
        file = self._files.get(str(fids[0])) if isinstance(fids[0], int | str) else None
        if not isinstance(file, dict):
            return [], f"no file has the id {short(fids[0])}"
        if file.get("type") != _IMAGE:
            return [], f"the file must be an image (type {_IMAGE}), got type {short(file.get('type'))}"
        source = file.get("src")
        inline = isinstance(source, str) and source.startswith("data:")
        return [file.get("fname"), None if inline else source], ""

    def _region(self, item: dict[str, Any]) -> Region:
        values = item.get("av")
        if not isinstance(values, dict):
            return values, _bounds(item.get("xy"))
        attributes: dict[str, Any] = {}
        for key, value in values.items():
            about = self._attributes.get(key)
            name = about.get("aname") if isinstance(about, dict) else None
            attributes[name if isinstance(name, str) else key] = _option(about, value)
        return attributes, _bounds(item.get("xy"))


def _option(attribute: Any, value: Any) -> Any:
    """The text of the option that ``value`` is the id of; of several ticked ones a mapping, as VIA 2 writes it."""
    options = attribute.get("options") if isinstance(attribute, dict) else None
    kind = attribute.get("type") if isinstance(attribute, dict) else None
    if not isinstance(value, str) or not isinstance(options, dict):
        return value
    if kind == _CHECKBOX:
        return {str(options.get(key, key)): True for key in value.split(",") if key}
    return options.get(value, value) if kind in (_RADIO, _SELECT) else value


def _bounds(xy: Any) -> Bounds | str:
    if not isinstance(xy, list) or not xy:
        return f"xy must be the number of a shape and its coordinates, got {short(xy)}"
    kind, sides = xy[0], [number(side) for side in xy[1:]]
    if isinstance(kind, list | dict) or kind not in _SHAPES:
        kind_name = None if isinstance(kind, list | dict) else _WITHOUT_AREA.get(kind)
        return f"a {kind_name} has no area, so it has no box" if kind_name else f"unknown shape {short(kind)}"
    if any(side is None for side in sides):
        return f"xy must hold finite numbers, got {short(xy)}"
    return _shape(kind, [side for side in sides if side is not None], xy)


def _shape(kind: int, sides: list[float], xy: Any) -> Bounds | str:
    least, most = {2: (4, 4), 3: (3, 3), 4: (4, 4), 8: (8, 8), 9: (6, 6)}.get(kind, (6, len(sides)))
    if not least <= len(sides) <= most or (kind in (7, 8, 9) and len(sides) % 2):
        return f"a {_SHAPES[kind]} has another count of coordinates, got {short(xy)}"
    if kind == 2:
        return rectangle_bounds(*sides)
    if kind in (3, 4):
        across, down = sides[2], sides[-1]
        return ellipse_bounds(sides[0], sides[1], across, down) if min(across, down) > 0 else "the radius must be > 0"
    if kind == 9:
        return _circle_through(sides)
    return polygon_bounds(list(zip(sides[::2], sides[1::2], strict=True)))


def _circle_through(sides: list[float]) -> Bounds | str:
    """The box around the circle through three points (its centre solves |c - p1| = |c - p2| = |c - p3|)."""
    x1, y1, x2, y2, x3, y3 = sides
    bx, by, cx, cy = x2 - x1, y2 - y1, x3 - x1, y3 - y1
    area = 2 * (bx * cy - by * cx)
    if area == 0:
        return "the three points of the circle lie on a line"
    x = (cy * (bx * bx + by * by) - by * (cx * cx + cy * cy)) / area
    y = (bx * (cx * cx + cy * cy) - cx * (bx * bx + by * by)) / area
    radius = math.hypot(x, y)
    return ellipse_bounds(x1 + x, y1 + y, radius, radius)

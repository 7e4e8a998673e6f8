"""VGG Image Annotator JSON in: projects and exports of VIA 1 and 2, projects of VIA 3."""

from collections.abc import Callable, Iterable
from typing import Any

from hakka.data.findings import printable, short
from hakka.data.formats.annotations import Annotations
from hakka.data.formats.gathering import Gathering, Record
from hakka.data.formats.locate import source_split
from hakka.data.formats.shapes import Bounds, ellipse_bounds, number, polygon_bounds, rectangle_bounds
from hakka.data.formats.via3 import Project3, is_via3
from hakka.data.listing import Listing

CLASS_ATTRIBUTES = ("label", "class", "name", "type", "category")


def is_via(value: Any) -> bool:
    """True for a VIA project or for an export: a mapping of images to ``filename`` and ``regions``."""
    return is_via3(value) or bool(_entries(value))


def count_via(value: Any) -> int:
    """The images in a VIA file."""
    return len(Project3(value).images) if is_via3(value) else len(_entries(value))


def read_via(listing: Listing, documents: Iterable[tuple[str, Any]]) -> Annotations:
    """Images, boxes and names of VIA files (name, content).

    The class of a region is its only attribute, or the one of several that is named label, class, name, type or
    category; of a checkbox the one ticked value. Rectangles, polygons, circles and ellipses become boxes; points and
    lines have no area and are refused. VIA claims no image size: pixels are those of the upright photo.
    """
    gathering = Gathering(listing)
    files = []
    for file, value in documents:
        files.append(file)
        if is_via3(value):
            _read_project3(gathering, file, Project3(value))
        else:
            for key, entry in _entries(value).items():
                _read_entry(gathering, file, key, entry)
    return gathering.annotations("via", files)


def _entries(value: Any) -> dict[str, Any]:
    """Key → image of a project or an export of VIA 1 or 2; empty if it is neither."""
    if not isinstance(value, dict):
        return {}
    entries = value.get("_via_img_metadata", value)
    if not isinstance(entries, dict):
        return {}
    known = entries is not value or any(_is_entry(entry) for entry in entries.values())
    return entries if known else {}


def _is_entry(value: Any) -> bool:
    return isinstance(value, dict) and "filename" in value and "regions" in value


def _read_entry(gathering: Gathering, file: str, key: str, entry: Any) -> None:
    record = gathering.start(f"image {short(key)} of {file}", source_split(file))
    if not isinstance(entry, dict):
        gathering.refuse(record, f"{record.place}: must be an object, got {short(entry)}")
    else:
        _locate(gathering, record, [entry.get("filename")], file)
        regions = entry.get("regions")
        if isinstance(regions, dict):  # VIA 1 numbers them: {"0": …, "1": …}
            regions = list(regions.values())
        if not isinstance(regions, list):
            gathering.refuse(record, f"{record.place}: regions must be a list or a mapping, got {short(regions)}")
            regions = []
        for i, region in enumerate(regions):
            label, bounds = _region(region)
            gathering.add(record, i, "region", label, bounds)
        _tally_empty(gathering, record, regions)
    gathering.finish(record)


def _locate(gathering: Gathering, record: Record, names: list[Any], file: str) -> None:
    if not any(isinstance(name, str) and name.strip() for name in names):
        gathering.refuse(record, f"{record.place}: needs a file name, got {short(names[0])}")
    else:
        gathering.locate(record, names, file, one_image=False)


def _tally_empty(gathering: Gathering, record: Record, regions: list[Any]) -> None:
    if not regions and not record.reason:
        gathering.tally("has no region: VIA does not say whether it was looked at; it is a background", record.place)


def _region(region: Any) -> tuple[Any, Bounds | str]:
    """The class name and the bounds of a region; the reason instead of the bounds if it is refused."""
    if not isinstance(region, dict) or not isinstance(region.get("shape_attributes"), dict):
        return None, f"must be an object with shape_attributes, got {short(region)}"
    bounds = _bounds(region["shape_attributes"])
    if isinstance(bounds, str):
        return None, bounds
    label, reason = class_of(region.get("region_attributes"))
    return label, reason or bounds


def class_of(attributes: Any) -> tuple[Any, str]:
    """The class name that region attributes give and "", or None and the reason why there is none."""
    if not isinstance(attributes, dict) or not attributes:
        return None, f"no class: region_attributes is {short(attributes)}"
    named = [key for key in attributes if key.strip().lower() in CLASS_ATTRIBUTES]
    chosen = list(attributes) if len(attributes) == 1 else named
    if len(chosen) != 1:
        return None, f"no class: which of the attributes {short(sorted(attributes))} is it? Name it label or class"
    value = attributes[chosen[0]]
    if isinstance(value, dict):  # a checkbox
        ticked = [key for key, on in value.items() if on is True or on == "true"]
        if len(ticked) != 1:
            return None, f"no class: one value of {short(chosen[0])} must be ticked, got {short(sorted(ticked))}"
        value = ticked[0]
    if not isinstance(value, str) or not value.strip():
        return None, f"no class: the attribute {short(chosen[0])} is {short(value)}"
    return value, ""


def _bounds(shape: dict[str, Any]) -> Bounds | str:
    kind = shape.get("name")
    if kind in ("point", "polyline", "line"):
        return f"a {kind} has no area, so it has no box"
    reader = _SHAPES.get(kind) if isinstance(kind, str) else None
    if reader is None:
        return f"the shape must be one of {', '.join(_SHAPES)}, got {short(kind)}"
    return reader(shape)


def _numbers(shape: dict[str, Any], *keys: str) -> list[float] | str:
    found = [number(shape.get(key)) for key in keys]
    if None in found:
        return f"{', '.join(keys)} must be finite numbers, got {short([shape.get(key) for key in keys])}"
    return found  # type: ignore[return-value]  # no None in it


def _rectangle(shape: dict[str, Any]) -> Bounds | str:
    sides = _numbers(shape, "x", "y", "width", "height")
    return sides if isinstance(sides, str) else rectangle_bounds(*sides)


def _circle(shape: dict[str, Any]) -> Bounds | str:
    sides = _numbers(shape, "cx", "cy", "r")
    if isinstance(sides, str):
        return sides
    x, y, radius = sides
    return f"r must be > 0, got {radius:g}" if radius <= 0 else ellipse_bounds(x, y, radius, radius)


def _ellipse(shape: dict[str, Any]) -> Bounds | str:
    sides = _numbers({"theta": 0, **shape}, "cx", "cy", "rx", "ry", "theta")
    if isinstance(sides, str):
        return sides
    if min(sides[2:4]) <= 0:
        return f"rx and ry must be > 0, got {short(sides[2:4])}"
    return ellipse_bounds(*sides)


def _polygon(shape: dict[str, Any]) -> Bounds | str:
    xs, ys = shape.get("all_points_x"), shape.get("all_points_y")
    if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys) or len(xs) < 3:
        return f"all_points_x and all_points_y must be lists of 3 numbers or more each, got {short(xs)} and {short(ys)}"
    corners = [(number(x), number(y)) for x, y in zip(xs, ys, strict=True)]
    if any(None in corner for corner in corners):
        return f"a point must be two finite numbers, got {short(xs)} and {short(ys)}"
    return polygon_bounds(corners)  # type: ignore[arg-type]  # no None in any corner


_SHAPES: dict[str, Callable[[dict[str, Any]], Bounds | str]] = {
    "rect": _rectangle,
    "polygon": _polygon,
    "circle": _circle,
    "ellipse": _ellipse,
}


def _read_project3(gathering: Gathering, file: str, project: Project3) -> None:
    for key, names, reason in project.images:
        record = gathering.start(f"view {short(key)} of {file}", source_split(file))
        if reason:
            gathering.refuse(record, f"{record.place}: {reason}")
        else:
            _locate(gathering, record, names, file)
        regions = project.regions.get(key, [])
        for i, (attributes, bounds) in enumerate(regions):
            label, missing = (None, "") if isinstance(bounds, str) else class_of(attributes)
            gathering.add(record, i, "region", label, missing or bounds)
        _tally_empty(gathering, record, regions)
        gathering.finish(record)
    for i, reason in project.orphans:
        gathering.orphan(i, f"region {i} of {printable(file)}: {reason}")

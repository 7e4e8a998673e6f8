"""VGG Image Annotator JSON in: projects and exports of VIA 1 and 2, projects of VIA 3."""

from collections.abc import Callable, Iterable
from typing import Any

from hakka.data.formats.annotations import Annotations
from hakka.data.formats.gathering import Gathering, Record
from hakka.data.formats.locate import source_split
from hakka.data.formats.shapes import Bounds, ellipse_bounds, number, polygon_bounds, rectangle_bounds
from hakka.data.formats.via3 import Project3, is_via3
from hakka.data.listing import Listing
from hakka.texts import printable, short

CLASS_ATTRIBUTES = ("class", "label", "name", "category", "food", "type")  # the first that is there is the class


def is_via(value: Any) -> bool:
    """True for a VIA project or for an export: a mapping of images to ``filename`` and ``regions``."""
    return is_via3(value) or bool(_entries(value))


def count_via(value: Any) -> int:
    """The images in a VIA file."""
    return len(Project3(value).images) if is_via3(value) else len(_entries(value))


def read_via(listing: Listing, documents: Iterable[tuple[str, Any]], attribute: str | None = None) -> Annotations:
    """Images, boxes and names of VIA files (name, content).

    The class of a region is its ``attribute``; without one, what ``choose_attribute`` chooses for the file, or for the
    region where that is none. Of a checkbox it is the one ticked value. Rectangles, polygons, circles and ellipses
    become boxes; points and lines have no area and are refused. VIA claims no image size: pixels are those of the
    upright photo.
    """
    gathering = Gathering(listing)
    files = []
    for file, value in documents:
        files.append(file)
        if is_via3(value):
            project = Project3(value)
            regions = (attributes for regions in project.regions.values() for attributes, _ in regions)
            _read_project3(gathering, file, project, attribute or _choose(gathering, file, regions))
        else:
            entries = _entries(value)
            regions = (_attributes(region) for entry in entries.values() for region in _regions(entry))
            chosen = attribute or _choose(gathering, file, regions)
            for key, entry in entries.items():
                _read_entry(gathering, file, key, entry, chosen)
    return gathering.annotations("via", files)


def choose_attribute(regions: Iterable[Any]) -> str | None:
    """The attribute that is the class of regions, of which each is given by its attributes; None if none must be.

    Of those that all regions have a value of, it is the first in ``CLASS_ATTRIBUTES``, else the only one.
    """
    common: list[str] | None = None
    for attributes in regions:
        if isinstance(attributes, dict) and attributes:
            own = {key for key, value in attributes.items() if value not in ("", None, {})}
            common = [key for key in (attributes if common is None else common) if key in own]
    plain = {key.strip().lower(): key for key in reversed(common or [])}
    named = [plain[name] for name in CLASS_ATTRIBUTES if name in plain]
    return named[0] if named else common[0] if common and len(common) == 1 else None


def _choose(gathering: Gathering, file: str, regions: Iterable[Any]) -> str | None:
    """The attribute that is the class in a file; said where others are passed over for it."""
    several = [attributes for attributes in regions if isinstance(attributes, dict) and attributes]
    chosen = choose_attribute(several)
    others = sorted({key for attributes in several for key in attributes} - {chosen}) if chosen else []
    if others:
        gathering.tally(f"the class is the attribute {short(chosen)}; passed over: {short(others)}", printable(file))
    return chosen


def _attributes(region: Any) -> Any:
    return region.get("region_attributes") if isinstance(region, dict) else None


def _regions(entry: Any) -> list[Any]:
    """The regions of an image, which VIA 1 numbers ({"0": …, "1": …}); none if they are no list either."""
    regions = entry.get("regions") if isinstance(entry, dict) else None
    regions = list(regions.values()) if isinstance(regions, dict) else regions
    return regions if isinstance(regions, list) else []


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


def _read_entry(gathering: Gathering, file: str, key: str, entry: Any, attribute: str | None) -> None:
    record = gathering.start(f"image {short(key)} of {file}", source_split(file))
    if not isinstance(entry, dict):
        gathering.refuse(record, f"{record.place}: must be an object, got {short(entry)}")
    else:
        _locate(gathering, record, [entry.get("filename")], file)
        written, regions = entry.get("regions"), _regions(entry)
        if not isinstance(written, list | dict):
            gathering.refuse(record, f"{record.place}: regions must be a list or a mapping, got {short(written)}")
        for i, region in enumerate(regions):
            label, bounds = _region(region, attribute)
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


def _region(region: Any, attribute: str | None) -> tuple[Any, Bounds | str]:
    """The class name and the bounds of a region; the reason instead of the bounds if it is refused."""
    if not isinstance(region, dict) or not isinstance(region.get("shape_attributes"), dict):
        return None, f"must be an object with shape_attributes, got {short(region)}"
    bounds = _bounds(region["shape_attributes"])
    if isinstance(bounds, str):
        return None, bounds
    label, reason = class_of(region.get("region_attributes"), attribute)
    return label, reason or bounds


def class_of(attributes: Any, attribute: str | None = None) -> tuple[Any, str]:
    """The class name that region attributes give and "", or None and the reason why there is none.

    ``attribute`` is the one that holds it; None chooses among those of the region.
    """
    if not isinstance(attributes, dict) or not attributes:
        return None, f"no class: region_attributes is {short(attributes)}"
    chosen = attribute or (next(iter(attributes)) if len(attributes) == 1 else choose_attribute([attributes]))
    if chosen is None:
        which = f"which of the attributes {short(sorted(attributes))} is it"
        return None, f"no class: {which}? Say so in classes.yaml, as in `attribute: {printable(min(attributes))[:40]}`"
    if chosen not in attributes:
        return None, f"no class: none of the attributes {short(sorted(attributes))} is {short(chosen)}"
    value = attributes[chosen]
    if isinstance(value, dict):  # a checkbox
        ticked = [key for key, on in value.items() if on is True or on == "true"]
        if len(ticked) != 1:
            return None, f"no class: one value of {short(chosen)} must be ticked, got {short(sorted(ticked))}"
        value = ticked[0]
    if not isinstance(value, str) or not value.strip():
        return None, f"no class: the attribute {short(chosen)} is {short(value)}"
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


def _read_project3(gathering: Gathering, file: str, project: Project3, attribute: str | None) -> None:
    for key, names, reason in project.images:
        record = gathering.start(f"view {short(key)} of {file}", source_split(file))
        if reason:
            gathering.refuse(record, f"{record.place}: {reason}")
        else:
            _locate(gathering, record, names, file)
        regions = project.regions.get(key, [])
        for i, (attributes, bounds) in enumerate(regions):
            label, missing = (None, "") if isinstance(bounds, str) else class_of(attributes, attribute)
            gathering.add(record, i, "region", label, missing or bounds)
        _tally_empty(gathering, record, regions)
        gathering.finish(record)
    for i, reason in project.orphans:
        gathering.orphan(i, f"region {i} of {printable(file)}: {reason}")

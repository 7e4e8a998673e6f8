"""Label Studio in: JSON and JSON-MIN exports, single tasks, and the annotation files of a target storage."""

import math
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hakka.data.formats.annotations import Annotations
from hakka.data.formats.brush import brush_bounds
from hakka.data.formats.gathering import Gathering, Record
from hakka.data.formats.locate import source_split
from hakka.data.formats.naming import OTHER_NAME
from hakka.data.formats.shapes import Bounds, ellipse_bounds, number, points, polygon_bounds, rectangle_bounds
from hakka.data.listing import IMAGE_SUFFIXES, Listing
from hakka.texts import short

_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")  # Label Studio puts eight digits before the name of an uploaded file
_GEOMETRY = ("x", "points", "rle", "vertices")


def is_labelstudio(value: Any) -> bool:
    """True for tasks of Label Studio, in any of the forms that it writes."""
    return any(_is_task(item) or _is_minimal(item) for item in _items(value))


def count_labelstudio(value: Any) -> int:
    """The tasks in a Label Studio file."""
    return len(_items(value))


def read_labelstudio(listing: Listing, documents: Iterable[tuple[str, Any]]) -> Annotations:
    """Images, boxes and names of Label Studio files (name, content).

    A task is an image. Of its annotations the first that was not cancelled counts; the shapes of further ones are
    refused, predictions are not looked at, and a task that nobody annotated is refused: it is no background.
    Rectangles (turned around their top left corner), ellipses, polygons and brushes become boxes; key points have no
    area and are refused. The path of the image is compared from its end, first with the eight digits that an upload
    gets, then without. ``original_width`` and ``original_height`` are the claim.
    """
    gathering = Gathering(listing)
    files = []
    for file, value in documents:
        files.append(file)
        for i, item in enumerate(_items(value)):
            _read_task(gathering, file, i, item)
    return gathering.annotations("labelstudio", files)


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_task(item: Any) -> bool:
    if not isinstance(item, dict):
        return False
    if isinstance(item.get("task"), dict):
        return "result" in item and isinstance(item["task"].get("data"), dict)
    return isinstance(item.get("data"), dict) and any(
        key in item for key in ("annotations", "completions", "predictions")
    )


def _is_minimal(item: Any) -> bool:
    """True for a task of a JSON-MIN export: the data's keys and the controls' names side by side."""
    return isinstance(item, dict) and any(map(_is_control, item.values()))


def _is_control(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and isinstance(value[0], dict)
        and any(key == "original_width" or (key.endswith("labels") and key != "labels") for key in value[0])
    )


def _read_task(gathering: Gathering, file: str, i: int, item: Any) -> None:
    record = gathering.start(f"task {i} of {file}", source_split(file))
    data, annotations = _unfold(item)
    if not isinstance(data, dict):
        gathering.refuse(record, f"{record.place}: must be a task with data, got {short(item)}")
    else:
        _locate(gathering, record, data, file)
    chosen, others = _choose(gathering, record, annotations)
    for i, result in enumerate(result for annotation in others for result in annotation):
        if _is_shape(result):
            gathering.add(record, i, "result of a further annotation, number", None, "the first annotation counts")
    _read_results(gathering, record, chosen)
    gathering.finish(record)


def _unfold(item: Any) -> tuple[Any, Any]:
    """The data and the annotations of a task, whichever way it was written."""
    if not isinstance(item, dict):
        return None, []
    if isinstance(item.get("task"), dict) and "result" in item:
        return item["task"].get("data"), [item]
    if isinstance(item.get("data"), dict):
        return item["data"], item.get("annotations", item.get("completions", []))
    results = [
        {"type": next((key for key in value if key.endswith("labels")), ""), "value": value, **value}
        for control in item.values()
        if _is_control(control)
        for value in control
        if isinstance(value, dict)
    ]
    return item, [{"result": results}]


def _choose(gathering: Gathering, record: Record, annotations: Any) -> tuple[list[Any], list[list[Any]]]:
    """The results of the annotation that counts, and those of the others that were not cancelled."""
    if not isinstance(annotations, list) or not all(
        isinstance(item, dict) and isinstance(item.get("result"), list) for item in annotations
    ):
        reason = f"annotations must be a list of objects with a result, got {short(annotations)}"
        gathering.refuse(record, f"{record.place}: {reason}")
        return [], []
    valid = [item["result"] for item in annotations if not item.get("was_cancelled") and not item.get("skipped")]
    if len(valid) < len(annotations):
        gathering.tally("an annotation was cancelled in Label Studio: it is skipped", record.place)
    if not valid:
        gathering.refuse(record, f"{record.place}: has no annotation: it was not labelled")
        return [], []
    return valid[0], valid[1:]


def _locate(gathering: Gathering, record: Record, data: dict[str, Any], file: str) -> None:
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    images = {key: _path_in(value) for key, value in texts.items()}
    named = {key: path for key, path in images.items() if _suffix(path) in IMAGE_SUFFIXES}
    if "image" in texts:
        named = {"image": images["image"]}
    if len(named) != 1:
        reason = f"one value of its data must be an image, got {short(sorted(texts.values()))}"
        gathering.refuse(record, f"{record.place}: {reason}")
        return
    path = next(iter(named.values()))
    if path.startswith("data:"):
        gathering.refuse(record, f"{record.place}: the image must be a file, got {short(path)}")
        return
    base = path.rpartition("/")[2]
    uploaded = _UPLOADED.fullmatch(base)
    plain = gathering.finder.only_named(uploaded[1]) if uploaded else None
    if plain is not None and gathering.finder.only_named(base) is None:
        gathering.take(record, plain)
        return
    found, how = gathering.finder.find([path.lstrip("/")], file, one_image=False)
    if found is None:
        gathering.refuse(record, f"{record.place}: {how}")
        return
    if how == OTHER_NAME:
        gathering.tally(how, record.place)
    gathering.take(record, found)


def _path_in(text: str) -> str:
    """The path of a URL, or of the file that a local-files URL names."""
    if text.startswith("data:"):
        return text
    try:
        parts = urlsplit(text)
        named = parse_qs(parts.query, max_num_fields=20).get("d")
    except ValueError:
        return text
    return named[0] if named else unquote(parts.path)


def _suffix(path: str) -> str:
    return "." + path.rpartition(".")[2].lower() if "." in path else ""


def _is_shape(result: Any) -> bool:
    """True for a result that marks a place of the image; choices, texts and relations mark none."""
    if not isinstance(result, dict):
        return True
    value = result.get("value")
    return isinstance(value, dict) and any(key in value for key in _GEOMETRY)


def _read_results(gathering: Gathering, record: Record, results: list[Any]) -> None:
    shapes = []
    for i, result in enumerate(results):
        if _is_shape(result):
            shapes.append((i, result, _labels(result)))
        else:
            gathering.tally(f"a result of type {short(result.get('type'))} is no shape: passed over", record.place)
    claims = (_claim(result) for _, result, _ in shapes)
    gathering.claim(record, *next((claim for claim in claims if claim != (None, None)), (None, None)))
    record.unit = "shares" if record.size is None else "pixels"
    labelled = {_id(result) for _, result, labels in shapes if labels}
    for i, result, labels in shapes:
        if labels or _id(result) is None or _id(result) not in labelled:  # else its twin bears the labels
            bounds = _problem(result, labels, record.size) or _bounds(result["type"], result["value"], record.size)
            gathering.add(record, i, "result", labels[0] if labels else None, bounds)


def _claim(result: Any) -> tuple[Any, Any]:
    return (result.get("original_width"), result.get("original_height")) if isinstance(result, dict) else (None, None)


def _id(result: Any) -> str | None:
    value = result.get("id") if isinstance(result, dict) else None
    return value if isinstance(value, str) else None


def _labels(result: Any) -> list[Any]:
    value = result.get("value") if isinstance(result, dict) else None
    if not isinstance(value, dict):
        return []
    found: Any = next((item for key, item in value.items() if key.endswith("labels") and item), [])
    return found if isinstance(found, list) else [found]


def _problem(result: Any, labels: list[Any], size: tuple[int, int] | None) -> str:
    """Why a result gives no box, whatever its shape is."""
    if not isinstance(result, dict):
        return f"must be an object, got {short(result)}"
    claim = _claim(result)
    if size is not None and claim not in (size, (None, None)):
        return f"the image cannot be {size[0]} x {size[1]} and {short(claim[0])} x {short(claim[1])} at once"
    if result.get("image_rotation") not in (None, 0):
        return f"image_rotation must be 0, got {short(result['image_rotation'])}"
    if not isinstance(result.get("type"), str):
        return f"type must be text, got {short(result.get('type'))}"
    return "" if len(labels) == 1 else f"must have one label, got {short(labels)}"


def _bounds(kind: str, value: dict[str, Any], size: tuple[int, int] | None) -> Bounds | str:
    """The box in pixels of ``size``, or in shares where the source claims no size."""
    if "rle" in value:
        return brush_bounds(value["rle"], size)
    if kind.startswith(("keypoint", "vector")):
        return f"a {kind.removesuffix('labels')} has no area, so it has no box"
    scale = (size[0] / 100, size[1] / 100) if size else (0.01, 0.01)
    if "points" in value:
        corners = points(value["points"], 3)
        return corners if isinstance(corners, str) else _scaled(polygon_bounds(corners), scale)
    keys = ("x", "y", "radiusX", "radiusY") if "radiusX" in value else ("x", "y", "width", "height")
    sides = [number(value.get(key)) for key in (*keys, "rotation")]
    sides[4] = 0.0 if value.get("rotation") is None else sides[4]
    if None in sides:
        return f"{', '.join(keys)} must be finite numbers, got {short([value.get(key) for key in keys])}"
    return _turned(keys[2], [side for side in sides if side is not None], scale, size is not None)


def _turned(kind: str, sides: list[float], scale: tuple[float, float], sized: bool) -> Bounds | str:
    x, y, across, down, degrees = sides
    if across <= 0 or down <= 0:
        return f"its sides must be > 0, got {across:g} and {down:g}"
    if degrees % 360 and not sized:
        return f"a rotation of {degrees:g} degrees needs original_width and original_height"
    scaled = x * scale[0], y * scale[1], across * scale[0], down * scale[1]
    bounds = ellipse_bounds if kind == "radiusX" else rectangle_bounds
    return bounds(*scaled, math.radians(degrees % 360))


def _scaled(bounds: Bounds, scale: tuple[float, float]) -> Bounds:
    left, top, right, bottom = bounds
    return left * scale[0], top * scale[1], right * scale[0], bottom * scale[1]

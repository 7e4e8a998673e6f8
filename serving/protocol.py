"""The two wire protocols, the way in: request bytes → queries. The way out is in ``responses``.

v1 is KServe's JSON with base64 images, several a request. v2 is the Open Inference Protocol: one photo a request, as a
BYTES tensor that is base64 text in JSON, or the file's own bytes by the binary tensor extension. Nothing here does I/O
or knows KServe.

Every refusal is an ``InvalidInput`` whose sentence begins with the place in the request: ``instances[0].confidence``.
"""

import binascii
import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from hakka.boxes import Array
from hakka.errors import InvalidInput

MAX_DETECTIONS = 300
MAX_INSTANCES = 32
PARAMETERS = ("confidence", "iou", "max_detections", "classes")
KINDS: dict[type, str] = {list: "a list", dict: "an object", str: "a string"}
NO_BYTES = memoryview(b"")
# What clients of the protocol may add for the protocol's own purposes; none of them changes what is detected.
PROTOCOL_PARAMETERS = frozenset(
    {"binary_data_output", "priority", "timeout", "sequence_id", "sequence_start", "sequence_end"}
)
OUTPUTS = {
    "boxes": ("FP32", [-1, 4]),
    "scores": ("FP32", [-1]),
    "class_ids": ("INT32", [-1]),
    "labels": ("BYTES", [-1]),
}


@dataclass(frozen=True)
class Query:
    """One photo to look at and how.

    ``image`` is base64 text or the bytes of an image file, ``place`` where it stood in the request. A threshold of None
    is the model's own, classes of None are all.
    """

    image: str | bytes
    place: str
    confidence: float | None = None
    iou: float | None = None
    max_detections: int = MAX_DETECTIONS
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Answer:
    """What was found on one photo; ``boxes`` (n, 4) xyxy in pixels of the photo as it is upright (EXIF)."""

    prediction_id: str
    version: str
    width: int
    height: int
    boxes: Array
    scores: Array
    class_ids: Array
    labels: tuple[str, ...]


@dataclass(frozen=True)
class V2Request:
    """A v2 request: ``outputs`` are (name, binary) in the order asked for."""

    id: str
    query: Query
    outputs: tuple[tuple[str, bool], ...]


def new_id() -> str:
    """A fresh id for a prediction or a request."""
    return uuid.uuid4().hex


def parse_v1(body: bytes) -> list[Query]:
    """The queries of a ``:predict`` body, 1 to ``MAX_INSTANCES``."""
    instances = _field(_document(body), "instances", list, "")
    if not 1 <= len(instances) <= MAX_INSTANCES:
        raise InvalidInput(f"instances must hold 1 to {MAX_INSTANCES} photos, got {len(instances)}")
    return [_instance(value, f"instances[{index}]") for index, value in enumerate(instances)]


def _instance(value: Any, place: str) -> Query:
    if not isinstance(value, dict):
        raise InvalidInput(f'{place} must be an object like {{"image": {{"b64": "…"}}}}, got {_show(value)}')
    image = _field(value, "image", dict, f"{place}.")
    text = _field(image, "b64", str, f"{place}.image.")
    parameters = {key: given for key, given in value.items() if key != "image"}
    return Query(text, f"{place}.image.b64", **_parameters(parameters, f"{place}.", frozenset()))


def parse_v2(body: bytes, json_length: str | None = None) -> V2Request:
    """The request of an ``/infer`` body; ``json_length`` is its Inference-Header-Content-Length header, if any."""
    if json_length is None:
        return read_v2(_document(body))
    if not (json_length.isascii() and json_length.isdigit() and int(json_length) <= len(body)):
        rule = f"must be from 0 to the body's {len(body)} bytes"
        raise InvalidInput(f"header Inference-Header-Content-Length {rule}, got {_show(json_length)}")
    size = int(json_length)
    return read_v2(_document(body[:size]), memoryview(body)[size:])


def read_v2(document: dict[str, Any], tail: memoryview = NO_BYTES) -> V2Request:
    """The request of a v2 document whose binary tensors, if any, follow one another in ``tail``."""
    inputs = _field(document, "inputs", list, "")
    if len(inputs) != 1 or not isinstance(inputs[0], dict) or inputs[0].get("name") != "image":
        raise InvalidInput(f"inputs must hold one tensor named 'image', got {_show(inputs)}")
    given = _optional(document, "parameters", dict, "") or {}
    parameters = _parameters(given, "parameters.", PROTOCOL_PARAMETERS)
    query = Query(_tensor_image(inputs[0], tail), "input 'image'", **parameters)
    request_id = _optional(document, "id", str, "") or new_id()
    return V2Request(request_id, query, _wanted(document, bool(given.get("binary_data_output"))))


def _tensor_image(tensor: dict[str, Any], tail: memoryview) -> str | bytes:
    place = "input 'image'"
    if tensor.get("datatype") != "BYTES":
        raise InvalidInput(f"{place}: datatype must be BYTES, got {_show(tensor.get('datatype'))}")
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not shape or any(type(side) is not int or side != 1 for side in shape):
        raise InvalidInput(f"{place}: shape must be [1], one photo a request, got {_show(shape)}")
    extra = _optional(tensor, "parameters", dict, f"{place}: ") or {}
    if "binary_data_size" in extra:
        return _binary_element(extra["binary_data_size"], tail)
    data = tensor.get("data")
    while isinstance(data, list) and len(data) == 1:
        data = data[0]
    if not isinstance(data, str | bytes):
        raise InvalidInput(f"{place}: data must be a list of one base64 string, got {_show(tensor.get('data'))}")
    return data


def _binary_element(size: Any, tail: memoryview) -> bytes:
    """The one element of a binary BYTES tensor: four bytes of little-endian length, then the content."""
    if type(size) is not int or size != len(tail):
        rule = f"binary_data_size must be the {len(tail)} bytes that follow"
        raise InvalidInput(f"input 'image': {rule}, got {_show(size)}")
    if size < 4 or struct.unpack_from("<I", tail)[0] != size - 4:
        raise InvalidInput("input 'image': a binary BYTES tensor begins with its element's length in 4 bytes")
    return bytes(tail[4:])


def _wanted(document: dict[str, Any], binary: bool) -> tuple[tuple[str, bool], ...]:
    outputs = _optional(document, "outputs", list, "")
    if not outputs:
        return tuple((name, binary) for name in OUTPUTS)
    wanted = {}
    for index, output in enumerate(outputs):
        if not isinstance(output, dict) or output.get("name") not in OUTPUTS:
            raise InvalidInput(f"outputs[{index}].name must be one of {', '.join(OUTPUTS)}, got {_show(output)}")
        extra = _optional(output, "parameters", dict, f"outputs[{index}].") or {}
        wanted[output["name"]] = bool(extra.get("binary_data", binary))
    return tuple(wanted.items())


def _parameters(given: dict[str, Any], place: str, ignored: frozenset[str]) -> dict[str, Any]:
    """The detection parameters as keywords of ``Query``; a null is as good as nothing."""
    for key in given:
        if key not in PARAMETERS and key not in ignored:
            raise InvalidInput(f"{place}{key} is not a parameter; known are {', '.join(PARAMETERS)}")
    values: dict[str, Any] = {}
    for key in ("confidence", "iou"):
        if given.get(key) is not None:
            values[key] = _share(given[key], f"{place}{key}")
    if given.get("max_detections") is not None:
        values["max_detections"] = _count(given["max_detections"], f"{place}max_detections")
    if given.get("classes") is not None:
        values["classes"] = _names(given["classes"], f"{place}classes")
    return values


def _share(value: Any, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidInput(f"{place} must be a number from 0 to 1, got {_show(value)}")
    return float(value)


def _count(value: Any, place: str) -> int:
    if type(value) is not int or not 1 <= value <= MAX_DETECTIONS:
        raise InvalidInput(f"{place} must be a whole number from 1 to {MAX_DETECTIONS}, got {_show(value)}")
    return value


def _names(value: Any, place: str) -> tuple[str, ...]:
    # v2 parameters are scalars by the protocol, so there a list of names may also be one string with commas.
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise InvalidInput(f"{place} must be a list of class names, got {_show(value)}")
    return tuple(names)


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"the body is not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidInput(f"the body must be a JSON object, got {_show(document)}")
    return document


def _field(value: dict[str, Any], key: str, kind: type, place: str) -> Any:
    if value.get(key) is None:
        raise InvalidInput(f"{place}{key} is missing")
    return _optional(value, key, kind, place)


def _optional(value: dict[str, Any], key: str, kind: type, place: str) -> Any:
    found = value.get(key)
    if found is not None and not isinstance(found, kind):
        raise InvalidInput(f"{place}{key} must be {KINDS[kind]}, got {_show(found)}")
    return found


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def image_bytes(query: Query) -> bytes:
    """The bytes of the image file of a query.

    Raises:
        InvalidInput: the text is not base64.
    """
    if isinstance(query.image, bytes):
        return query.image
    try:
        return binascii.a2b_base64(query.image, strict_mode=True)
    except ValueError as error:
        raise InvalidInput(f"{query.place} is not valid base64: {error}") from None


def class_numbers(query: Query, names: Sequence[str]) -> list[int] | None:
    """The class ids that a query asks for, or None for all.

    Raises:
        InvalidInput: the model has no class of that name.
    """
    if query.classes is None:
        return None
    for name in query.classes:
        if name not in names:
            raise InvalidInput(f"{query.place}: unknown class {_show(name)}; this model knows {', '.join(names)}")
    return [names.index(name) for name in query.classes]

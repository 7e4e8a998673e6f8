"""The two wire protocols, the way in: request bytes → queries. The way out is in ``responses``.

v1 is KServe's JSON with base64 images (or addresses of images, where the server allows them), several a request. v2 is
the Open Inference Protocol, whose image tensor is read in ``tensors``. Nothing here does I/O or knows KServe.

Every refusal is an ``InvalidInput`` whose sentence begins with the place in the request: ``instances[0].confidence``.
"""

import binascii
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import orjson

from hakka.boxes import Array
from hakka.errors import InvalidInput
from serving.fields import MAX_JSON, read_document, read_field, read_optional, read_text, show
from serving.tensors import NO_BYTES, Image, read_images
from serving.texts import Texts

MAX_DETECTIONS = 300
MAX_PHOTOS = 32  # a request
BASE64_PIECE = 1 << 18  # a multiple of 4
PARAMETERS = ("confidence", "iou", "max_detections", "classes")
# What clients of the protocol may add for the protocol's own purposes; none of them changes what is detected.
PROTOCOL_PARAMETERS = frozenset(
    {"binary_data_output", "priority", "timeout", "sequence_id", "sequence_start", "sequence_end"}
)
INPUTS = (("image", "BYTES", [-1]), ("image", "UINT8", [-1, -1, 3]))
OUTPUTS = {
    "boxes": ("FP32", [-1, 4]),
    "scores": ("FP32", [-1]),
    "class_ids": ("INT32", [-1]),
    "labels": ("BYTES", [-1]),
    # The others have one element or row a box, these one a photo.
    "counts": ("INT32", [-1]),
    "sizes": ("INT32", [-1, 2]),
    "prediction_ids": ("BYTES", [-1]),
}


@dataclass(frozen=True)
class Url:
    """An address that a photo is to be fetched from."""

    text: str


@dataclass(frozen=True, eq=False)
class Query:
    """One photo to look at and how.

    ``image`` is base64 text (as a part of the request if it is long), the bytes of an image file, pixels, or an
    address; ``place`` is where it stood in the request, and ``rules`` the place of its classes. A threshold of None is
    the model's own, classes of None are all. ``deadline`` is the ``time.monotonic()`` after which nobody wants the
    answer any more.
    """

    image: Image | Url
    place: str
    rules: str = ""
    confidence: float | None = None
    iou: float | None = None
    max_detections: int = MAX_DETECTIONS
    classes: tuple[str, ...] | None = None
    deadline: float | None = None


@dataclass(frozen=True, eq=False)
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
    """A v2 request: ``outputs`` are (name, binary) in the order asked for, ``timeout`` is in seconds."""

    id: str
    queries: tuple[Query, ...]
    outputs: tuple[tuple[str, bool], ...]
    timeout: float | None

    def before(self, seconds: float | None) -> list[Query]:
        """The queries with the deadline that is in ``seconds`` or after the request's own timeout, if there is one."""
        return set_deadline(self.queries, min((s for s in (seconds, self.timeout) if s is not None), default=None))


def new_id() -> str:
    """A fresh id for a prediction or a request."""
    return uuid.uuid4().hex


def set_deadline(queries: Sequence[Query], seconds: float | None) -> list[Query]:
    """The queries, to be answered within ``seconds`` from now if that is given."""
    if seconds is None:
        return list(queries)
    deadline = time.monotonic() + seconds
    return [replace(query, deadline=deadline) for query in queries]


def parse_v1(body: bytes, most_json: int = MAX_JSON) -> list[Query]:
    """The queries of a ``:predict`` body, 1 to ``MAX_PHOTOS``; its JSON may have ``most_json`` bytes beside photos.

    What stands in its ``parameters`` holds for every photo that does not say otherwise.
    """
    document, texts = read_document(body, len(body), most_json)
    _check_places(document)
    defaults = read_parameters(read_optional(document, "parameters", dict, "") or {}, "parameters.", frozenset())
    instances = read_field(document, "instances", list, "")
    if not 1 <= len(instances) <= MAX_PHOTOS:
        raise InvalidInput(f"instances must hold 1 to {MAX_PHOTOS} photos, got {len(instances)}")
    return [_instance(value, f"instances[{index}]", texts, defaults) for index, value in enumerate(instances)]


def _check_places(document: dict[str, Any]) -> None:
    """Refuse what would do nothing; other fields are the clients' own, such as a model_name or a signature_name."""
    for key in PARAMETERS:
        if key in document:
            raise InvalidInput(f"{key} must stand in parameters, not beside it")


def _instance(value: Any, place: str, texts: Texts, defaults: dict[str, Any]) -> Query:
    if not isinstance(value, dict):
        raise InvalidInput(f'{place} must be an object like {{"image": {{"b64": "…"}}}}, got {show(value)}')
    image = read_field(value, "image", dict, f"{place}.")
    url = read_optional(image, "url", str, f"{place}.image.")
    if url is not None and image.get("b64") is not None:
        raise InvalidInput(f"{place}.image must hold b64 or url, got both")
    parameters = {key: given for key, given in value.items() if key != "image"}
    own = read_parameters(parameters, f"{place}.", frozenset())
    rules = "parameters." if "classes" in defaults and "classes" not in own else f"{place}."
    if url is not None:
        return Query(Url(url), f"{place}.image.url", rules, **defaults | own)
    text = read_field(image, "b64", str, f"{place}.image.")
    return Query(texts.get(text, text), f"{place}.image.b64", rules, **defaults | own)


def parse_v2(body: bytes, json_length: str | None = None, most_json: int = MAX_JSON) -> V2Request:
    """The request of an ``/infer`` body; ``json_length`` is its Inference-Header-Content-Length header, if any."""
    if json_length is None:
        document, texts = read_document(body, len(body), most_json)
        return read_v2(document, texts=texts)
    digits = json_length.isascii() and json_length.isdigit() and len(json_length) <= 20
    if not (digits and int(json_length) <= len(body)):
        rule = f"must be from 0 to the body's {len(body)} bytes"
        raise InvalidInput(f"header Inference-Header-Content-Length {rule}, got {show(json_length)}")
    document, texts = read_document(body, int(json_length), most_json)
    return read_v2(document, memoryview(body)[int(json_length) :], texts)


def read_v2(document: dict[str, Any], tail: memoryview = NO_BYTES, texts: Texts = MappingProxyType({})) -> V2Request:
    """The request of a v2 document whose binary tensor, if any, is ``tail``, and whose long texts are ``texts``."""
    _check_places(document)
    inputs = read_field(document, "inputs", list, "")
    if len(inputs) != 1 or not isinstance(inputs[0], dict) or inputs[0].get("name") != "image":
        raise InvalidInput(f"inputs must hold one tensor named 'image', got {show(inputs)}")
    given = read_optional(document, "parameters", dict, "") or {}
    rules = read_parameters(given, "parameters.", PROTOCOL_PARAMETERS)
    images = read_images(inputs[0], tail, texts, MAX_PHOTOS)
    places = ["input 'image'"] if len(images) == 1 else [f"input 'image'[{index}]" for index in range(len(images))]
    return V2Request(
        id=read_text(document, "id", "") or new_id(),
        queries=tuple(Query(image, place, "parameters.", **rules) for image, place in zip(images, places, strict=True)),
        outputs=_wanted(document, bool(given.get("binary_data_output"))),
        timeout=_timeout(given.get("timeout")),
    )


def _wanted(document: dict[str, Any], binary: bool) -> tuple[tuple[str, bool], ...]:
    outputs = read_optional(document, "outputs", list, "")
    if not outputs:
        return tuple((name, binary) for name in OUTPUTS)
    wanted = {}
    for index, output in enumerate(outputs):
        name = output.get("name") if isinstance(output, dict) else None
        if not isinstance(name, str) or name not in OUTPUTS:
            raise InvalidInput(f"outputs[{index}].name must be one of {', '.join(OUTPUTS)}, got {show(output)}")
        extra = read_optional(output, "parameters", dict, f"outputs[{index}].") or {}
        wanted[name] = bool(extra.get("binary_data", binary))
    return tuple(wanted.items())


def _timeout(value: Any) -> float | None:
    """The v2 parameter ``timeout``, microseconds, as seconds; 0 is none, as the protocol says."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**63:
        raise InvalidInput(f"parameters.timeout must be a whole number of microseconds from 0, got {show(value)}")
    return value / 1e6 or None


def read_parameters(given: dict[str, Any], place: str, ignored: frozenset[str]) -> dict[str, Any]:
    """The detection parameters as keywords of ``Query``; a null is as good as nothing.

    Raises:
        InvalidInput: one is out of range, or is not known and not one to be ``ignored``.
    """
    for key in given:
        if key not in PARAMETERS and key not in ignored:
            name = show(key).strip("'")
            raise InvalidInput(f"{place}{name} is not a parameter; known are {', '.join(PARAMETERS)}")
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
        raise InvalidInput(f"{place} must be a number from 0 to 1, got {show(value)}")
    return float(value)


def _count(value: Any, place: str) -> int:
    # Some languages write every number with a point, and to JSON Schema 5.0 is an integer.
    if isinstance(value, bool) or not isinstance(value, int | float) or value % 1 or not 1 <= value <= MAX_DETECTIONS:
        raise InvalidInput(f"{place} must be a whole number from 1 to {MAX_DETECTIONS}, got {show(value)}")
    return int(value)


def _names(value: Any, place: str) -> tuple[str, ...]:
    # v2 parameters are scalars by the protocol, so there a list of names may also be one string with commas.
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise InvalidInput(f"{place} must be a list of class names, got {show(value)}")
    return tuple(names)


def image_bytes(query: Query) -> bytes:
    """The bytes of the image file of a query that came as base64 text, short or long, or as these bytes.

    Raises:
        InvalidInput: the text is not base64.
    """
    if isinstance(query.image, bytes):
        return query.image
    if not isinstance(query.image, str | memoryview):
        raise TypeError(f"{query.place} holds no file: {type(query.image).__name__}")
    try:
        return _decode_base64(query.image)
    except ValueError as error:
        raise InvalidInput(f"{query.place} is not valid base64: {error}") from None


def _decode_base64(text: str | memoryview) -> bytes:
    try:
        return b"".join(_decode_pieces(text))
    except ValueError:
        # Some languages escape a slash or a plus in JSON, and some tools break base64 into lines.
        plain = text if isinstance(text, str) else orjson.loads(b'"%b"' % text)
        if (joined := plain.replace("\n", "").replace("\r", "")) == text:
            raise
    return b"".join(_decode_pieces(joined))


def _decode_pieces(text: str | memoryview) -> Iterator[bytes]:
    # In pieces, because the decoder keeps every other thread from running: 30 MB at once would stop health for 0.1 s.
    for at in range(0, len(text), BASE64_PIECE):
        piece = binascii.a2b_base64(text[at : at + BASE64_PIECE], strict_mode=True)
        yield piece
        if 4 * len(piece) < 3 * BASE64_PIECE and at + BASE64_PIECE < len(text):
            raise ValueError("Excess data after padding")


def class_numbers(query: Query, names: Sequence[str]) -> Array | None:
    """The class ids that a query asks for, or None for all.

    Raises:
        InvalidInput: the model has no class of that name.
    """
    if query.classes is None:
        return None
    known = {name: number for number, name in enumerate(names)}
    for name in query.classes:
        if name not in known:
            place = f"{query.rules}classes"
            raise InvalidInput(f"{place}: unknown class {show(name)}; this model knows {', '.join(names)}")
    return np.array([known[name] for name in query.classes], dtype=int)

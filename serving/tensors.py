"""The v2 image tensor to images: files as BYTES, or pixels as UINT8, each as JSON or as binary.

Binary pixels stay where they are: the array is a view of the request's body.
"""

import math
import struct
from itertools import chain
from typing import Any

import numpy as np

from hakka.boxes import Array
from hakka.errors import InvalidInput
from serving.fields import read_optional, show
from serving.texts import Texts

PLACE = "input 'image'"
NO_BYTES = memoryview(b"")
MAX_NESTING = 4  # of a JSON tensor's lists, as deep as its shape is long

Image = str | memoryview | bytes | Array


def read_images(tensor: dict[str, Any], tail: memoryview, texts: Texts, most: int) -> list[Image]:
    """The 1 to ``most`` images of a tensor, in order: base64 text, image files, or pixels (height, width, 3) uint8.

    Its elements are in ``data``, long ones in ``texts``, or follow in ``tail`` if it has the parameter
    ``binary_data_size``.

    Raises:
        InvalidInput: data type, shape and content do not fit together.
    """
    kind = tensor.get("datatype")
    if kind not in ("BYTES", "UINT8"):
        raise InvalidInput(f"{PLACE}: datatype must be BYTES (files) or UINT8 (pixels), got {show(kind)}")
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not all(type(side) is int and side >= 1 for side in shape):
        raise InvalidInput(f"{PLACE}: shape must be a list of whole numbers from 1, got {show(shape)}")
    binary = _binary(tensor, tail)
    if kind == "UINT8":
        return list(_pixels(shape, _numbers(tensor) if binary is None else binary, most))
    return [texts.get(file, file) if isinstance(file, str) else file for file in _files(tensor, shape, binary, most)]


def _binary(tensor: dict[str, Any], tail: memoryview) -> memoryview | None:
    """The tensor's bytes, None if it came as JSON."""
    extra = read_optional(tensor, "parameters", dict, f"{PLACE}: ") or {}
    if "binary_data_size" not in extra:
        if len(tail):
            raise InvalidInput(f"{PLACE}: binary_data_size is missing, but {len(tail)} bytes follow the JSON")
        return None
    size = extra["binary_data_size"]
    if type(size) is not int or size != len(tail):
        raise InvalidInput(f"{PLACE}: binary_data_size must be the {len(tail)} bytes that follow, got {show(size)}")
    return tail


def _files(tensor: dict[str, Any], shape: list[int], binary: memoryview | None, most: int) -> list[Image]:
    count = math.prod(shape)
    if not shape or count > most:
        raise InvalidInput(f"{PLACE}: shape of BYTES must be [n] for 1 to {most} photos, got {show(shape)}")
    if binary is not None:
        return _elements(binary, count)
    data = _flat(tensor.get("data"))
    if len(data) != count or not all(isinstance(element, str | bytes) for element in data):
        texts = "one base64 string" if count == 1 else f"{count} base64 strings"
        raise InvalidInput(f"{PLACE}: data must be a list of {texts}, got {show(tensor.get('data'))}")
    return data


def _elements(binary: memoryview, count: int) -> list[Image]:
    """The elements of a binary BYTES tensor: each has four bytes of little-endian length, then the content."""
    found: list[Image] = []
    at = 0
    for _ in range(count):
        end = at + 4 + struct.unpack_from("<I", binary, at)[0] if at + 4 <= len(binary) else 0
        if not at < end <= len(binary):
            break
        found.append(bytes(binary[at + 4 : end]))
        at = end
    if len(found) != count or at != len(binary):
        rule = "a binary BYTES tensor is each element's length in 4 bytes and its content"
        raise InvalidInput(f"{PLACE}: {rule}, which {len(binary)} bytes for {count} photos are not")
    return found


def _numbers(tensor: dict[str, Any]) -> bytes:
    data = _flat(tensor.get("data"))
    try:
        numbers = bytes(data)  # takes what is a whole number from 0 to 255, and bools
        if bool not in set(map(type, data)):
            return numbers
    except (TypeError, ValueError):
        pass
    given = show(tensor.get("data"))
    raise InvalidInput(f"{PLACE}: data of UINT8 must be whole numbers from 0 to 255, got {given}")


def _pixels(shape: list[int], data: bytes | memoryview, most: int) -> Array:
    """(n, height, width, 3) of a tensor of shape [height, width, 3] or [n, height, width, 3]."""
    if len(shape) not in (3, 4) or shape[-1] != 3 or (len(shape) == 4 and shape[0] > most):
        rule = f"shape of UINT8 must be [height, width, 3], or [n, height, width, 3] for 1 to {most} photos"
        raise InvalidInput(f"{PLACE}: {rule}, got {show(shape)}")
    if math.prod(shape) != len(data):
        raise InvalidInput(f"{PLACE}: shape {show(shape)} needs {math.prod(shape)} bytes, got {len(data)}")
    return np.frombuffer(data, np.uint8).reshape(-1, *shape[-3:])


def _flat(data: Any) -> list[Any]:
    """The elements of a JSON tensor, whether its lists are nested as its shape is or not at all."""
    flat = data if isinstance(data, list) else [data]
    for _ in range(MAX_NESTING):
        if not flat or not isinstance(flat[0], list) or set(map(type, flat)) != {list}:
            break
        flat = list(chain.from_iterable(flat))
    return flat

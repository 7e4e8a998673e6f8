"""Reading fields of untrusted JSON: the value, or one sentence that begins with its place.

What is shown of a wrong value is cut first: the repr of a million numbers, or of lists a thousand deep, is a trap.
"""

import reprlib
from itertools import islice
from typing import Any

import orjson

from hakka.errors import InvalidInput
from serving.texts import LONG, MARK, Texts, TooLarge, cut_texts

KINDS: dict[type, str] = {list: "a list", dict: "an object", str: "a string"}
SHOWN = 80  # characters
MAX_JSON = 2 * 1024 * 1024  # bytes; the pixels of a photo of 400 x 400, written as numbers


def read_document(body: bytes, size: int, most: int) -> tuple[dict[str, Any], Texts]:
    """The JSON object in the first ``size`` bytes of a body, and its long texts; depth is limited by the parser.

    Raises:
        TooLarge: it is longer than ``most`` bytes without its long texts.
        InvalidInput: it is not JSON, or not an object.
    """
    parts, texts = cut_texts(body, size)
    if (length := sum(map(len, parts))) > most:
        raise TooLarge(f"the JSON must be at most {most} bytes without its base64 texts, got {length}")
    try:
        document = orjson.loads(b"".join(parts))
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"the body is not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidInput(f"the body must be a JSON object, got {show(document)}")
    return document, texts


def read_field(value: dict[str, Any], key: str, kind: type, place: str) -> Any:
    """A field that must be there; raises InvalidInput if it is not, or is of another kind."""
    if value.get(key) is None:
        raise InvalidInput(f"{place}{key} is missing")
    return read_optional(value, key, kind, place)


def read_optional(value: dict[str, Any], key: str, kind: type, place: str) -> Any:
    """A field that may be missing or null (None); raises InvalidInput if it is of another kind."""
    found = value.get(key)
    if found is not None and not isinstance(found, kind):
        raise InvalidInput(f"{place}{key} must be {KINDS[kind]}, got {show(found)}")
    return found


def read_text(value: dict[str, Any], key: str, place: str) -> str:
    """A text that may be missing, which is then empty; raises InvalidInput if it is long or no text."""
    text: str = read_optional(value, key, str, place) or ""
    if text.startswith(MARK):
        raise InvalidInput(f"{place}{key} must be at most {LONG} bytes")
    return text


class _Short(reprlib.Repr):
    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        # The library sorts all keys to show the first ones.
        return super().repr_dict(dict(islice(x.items(), self.maxdict + 1)), level)

    def repr_bytes(self, x: bytes, _: int) -> str:
        return f"{len(x)} bytes"

    def repr_str(self, x: str, level: int) -> str:
        return f"a text of more than {LONG} bytes" if x.startswith(MARK) else super().repr_str(x, level)


_short = _Short()
_short.maxstring, _short.maxlist, _short.maxdict, _short.maxlevel = SHOWN, 8, 4, 3


def show(value: Any) -> str:
    """A wrong value in at most some eighty characters."""
    text = _short.repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"

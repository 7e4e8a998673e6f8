"""One JSON text of foreign origin into memory: fast where it is plain, exact where it is not."""

import json
import re
from typing import Any

import numpy as np
import orjson

from hakka.texts import printable, short

TOO_DEEP = "not usable JSON: nested too deep"
MOST_VALUES = 4_000_000  # values of a text that is parsed at once, about 500 MB of Python objects
_MOST_DIGITS = 20  # of a number of 64 bits, with its sign
_SPACES = np.frombuffer(b" \t\r\n", dtype=np.uint8)
_SPACED_COLON = re.compile(rb'"[ \t\r\n]+:')


class NotJson(Exception):
    """A text that cannot be used; the message says why, beginning with "not"."""


class Repeated(dict[str, Any]):
    """An object in which ``key`` comes twice; ``own`` is False if that is so only for an object in its values.

    Equal values do no harm: then ``differ`` is False, and the objects around this one are plain ones.
    """

    key: str = ""
    own: bool = False
    differ: bool = False

    def __str__(self) -> str:
        return f"the key {short(self.key)} comes twice in one object" + (", with two values" if self.differ else "")


def parse_json(text: bytes, start: int = 0) -> Any:
    """The value of a JSON text in UTF-8; ``start`` is where the text begins in its file, for messages.

    NaN and Infinity are read as floats. An object that has a key twice is a ``Repeated``, and so are all around it.

    Raises:
        NotJson: it is not valid, or nested too deep.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return _parse_exactly(text, start)
    return value if _has_single_keys(value, text) else _parse_exactly(text, start)


def _has_single_keys(value: Any, text: bytes) -> bool:
    """Whether surely no key comes twice in one object: the text has no more keys than the objects."""
    most = count_most_keys(text)
    return most == 0 or most == _count_upper_keys(value) or most == _count_keys(value)


def count_most_keys(text: bytes) -> int:
    """How many keys the objects of a text have, or more.

    A quote with a colon behind it ends a key, or is in the middle of a string: counting them never gives too few.
    """
    letters = np.frombuffer(text, dtype=np.uint8)
    before = letters[np.flatnonzero(letters[1:] == ord(":"))]
    most = int((before == ord('"')).sum())
    if np.isin(before, _SPACES).any():
        most += len(_SPACED_COLON.findall(text))
    return most


def has_many_values(text: bytes) -> bool:
    """Whether a text, if it is JSON, has more than ``MOST_VALUES`` values."""
    return len(text) > MOST_VALUES and count_values(text) > MOST_VALUES


def count_values(text: bytes) -> int:
    """At least how many values a text has, if it is JSON."""
    return sum(count_letter(text, mark) for mark in ",[{")


def count_letter(text: bytes, letter: str) -> int:
    """How often an ASCII letter comes; faster than ``bytes.count`` where it comes often."""
    return int(np.count_nonzero(np.frombuffer(text, dtype=np.uint8) == ord(letter)))


def _count_upper_keys(value: Any) -> int:
    """Keys of an object, and of the objects in a list or in the lists of that object: usually these are all."""
    if type(value) is list:
        return sum(map(len, value)) if set(map(type, value)) == {dict} else 0
    if type(value) is not dict:
        return 0
    parts = value.values()
    return len(value) + sum(_count_upper_keys(part) if type(part) is list else _count_keys(part) for part in parts)


def _count_keys(value: Any) -> int:
    count, waiting = 0, [value]
    while waiting:
        item = waiting.pop()
        if type(item) is dict:
            count += len(item)
            waiting.extend(part for part in item.values() if type(part) in (dict, list))
        elif type(item) is list:
            waiting.extend(part for part in item if type(part) in (dict, list))
    return count


def _parse_exactly(text: bytes, start: int) -> Any:
    try:
        return json.loads(text.decode("utf-8", "surrogatepass"), object_pairs_hook=_make_object, parse_int=_make_int)
    except RecursionError:
        raise NotJson(TOO_DEEP) from None
    except json.JSONDecodeError as error:
        place = start + len(error.doc[: error.pos].encode("utf-8", "surrogatepass"))
        raise NotJson(f"not valid JSON: {printable(error.msg)} at byte {place}") from None
    except UnicodeDecodeError as error:
        raise NotJson(f"not valid JSON: no UTF-8 text at byte {start + error.start}") from None


def _make_int(text: str) -> int | float:
    """A whole number; beyond 64 bits a float, as orjson has it."""
    value = int(text) if len(text) <= _MOST_DIGITS else 2**64
    return value if -(2**63) <= value < 2**64 else float(text)


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    inner = next((found for _, item in pairs if (found := find_repeated(item)) is not None), None)
    if len(value) == len(pairs) and inner is None:
        return value
    result = Repeated(value)
    seen: dict[str, Any] = {}
    for key, item in pairs:
        if key in seen and not result.differ:
            result.key, result.own, result.differ = key, True, repr(seen[key]) != repr(item)
        seen.setdefault(key, item)
    if inner is not None and not result.differ:
        result.key, result.differ = result.key if result.own else inner.key, True
    return result


def find_repeated(value: Any) -> Repeated | None:
    """The object in a parsed value that has a key twice with two values, itself or in it; None if there is none."""
    if type(value) is Repeated:
        return value if value.differ else None
    if type(value) is list:
        return next((found for item in value if (found := find_repeated(item)) is not None), None)
    return None

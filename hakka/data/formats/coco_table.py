"""Elements of ``annotations`` as columns: from parsed values, or straight from the text where all of them are alike."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from hakka.boxes import Array
from hakka.data.formats.json_text import Repeated, count_letter, count_most_keys, parse_json

_KEYS = ("id", "image_id", "category_id", "iscrowd", "bbox")
_NEEDED = frozenset({"image_id", "category_id", "bbox"})
_KINDS: dict[str, Any] = dict.fromkeys(_KEYS, int) | {"bbox": tuple[float, float, float, float]}
_MOST_KEYS = 32  # of an element
_LONGEST = 2**16  # bytes of the first element
_NUMBERS = frozenset({int, float})
_OPTIONAL = frozenset({int, type(None)})
_ENCODE = msgspec.msgpack.Encoder().encode
_ENCODED_BOX = np.dtype([("length", "u1"), ("sides", [("kind", "u1"), ("value", ">f8")], (4,))])


@dataclass(frozen=True)
class Table:
    """Elements that have numbers where numbers belong.

    ``places`` (n,) is where they stand in their piece, ``ids`` (n,) are 0 where ``named`` (n,) is False, ``boxes``
    (n, 4) are left, top, width, height (each column in one piece, which numpy is fast at), and ``crowds`` (n,) says
    which mark a crowd.
    """

    places: Array
    ids: Array
    named: Array
    images: Array
    categories: Array
    boxes: Array
    crowds: Array


@dataclass(frozen=True)
class Alike:
    """A piece whose elements all have numbers where numbers belong: their table, and the text that they stand in."""

    table: Table
    text: bytes

    def __len__(self) -> int:
        return len(self.table.places)

    def parse(self) -> list[Any]:
        """The elements one by one."""
        values: list[Any] = parse_json(self.text)
        return values


def read_alike(text: bytes) -> Alike | None:
    """The elements in the text of a list, if all have the keys of the first, once, and numbers where numbers belong.

    Whatever it takes, ``parse_json`` takes too, and it means the same. None stands for everything else.
    """
    try:
        if not text.isascii():
            text.decode()  # the decoder does not look into the strings that it passes over
        keys = frozenset(_first_element(text))
        rows = _make_decoder(keys).decode(text)
        *columns, boxes = _columns(rows)
        table = _make_table(np.arange(len(rows)), columns, _to_array(boxes))
    except (ValueError, OverflowError, RecursionError):  # what msgspec refuses is a ValueError
        return None
    if _may_repeat(text, len(rows) * len(keys)) and any(type(value) is Repeated for value in parse_json(text)):
        return None
    return Alike(table, text)


def _columns(rows: Sequence[Any]) -> list[list[Any]]:
    """The columns of ``_KEYS``; attributes that are named in the code are read twice as fast as by ``attrgetter``."""
    return [
        [row.id for row in rows],
        [row.image_id for row in rows],
        [row.category_id for row in rows],
        [row.iscrowd for row in rows],
        [row.bbox for row in rows],
    ]


def _may_repeat(text: bytes, keys: int) -> bool:
    """Whether a text may have more than so many keys, of which it has at least as many."""
    return count_letter(text, ":") > keys and count_most_keys(text) > keys


def tabulate(values: Sequence[Any]) -> Table:
    """The elements, of parsed ones, that have numbers where numbers belong."""
    try:
        columns = _extract(values)
        if columns is not None:
            return _tabulate(np.arange(len(values)), columns)
        places = [i for i, value in enumerate(values) if _extract([value]) is not None]
        return _tabulate(np.array(places), _extract([values[i] for i in places]) or _NOTHING)
    except OverflowError:  # an id of 64 bits without a sign
        return _tabulate(np.arange(0), _NOTHING)


def _tabulate(places: Array, columns: Sequence[Sequence[Any]]) -> Table:
    *columns, boxes = columns
    sides = np.fromiter(chain.from_iterable(boxes), dtype=float, count=4 * len(places)).reshape(-1, 4)
    return _make_table(places, columns, np.asfortranarray(sides))


def _to_array(boxes: list[tuple[float, float, float, float]]) -> Array:
    """(n, 4), through msgpack: each float takes nine bytes there, and numpy need not take them one by one."""
    encoded = _ENCODE(boxes)
    packed = np.frombuffer(encoded, _ENCODED_BOX, offset=len(encoded) - len(boxes) * _ENCODED_BOX.itemsize)
    return np.asfortranarray(packed["sides"]["value"], dtype=float)


def _first_element(text: bytes) -> dict[str, Any]:
    """Raises ValueError if the text does not begin with a list of objects, or its first one is very long."""
    start = text[:_LONGEST].decode(errors="ignore").lstrip("[ \t\r\n")
    value = json.JSONDecoder().raw_decode(start)[0]
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value


@lru_cache(maxsize=32)
def _make_decoder(keys: frozenset[str]) -> msgspec.json.Decoder[list[Any]]:
    """A decoder of lists of objects that have these keys and no others.

    Raises:
        ValueError: the keys are not those of a box, or too many, or no text.
    """
    if not keys >= _NEEDED or len(keys) > _MOST_KEYS:
        raise ValueError("not the keys of a box")
    names = {f"passed_{i}": key for i, key in enumerate(sorted(keys - _KINDS.keys()))}
    present = [(key, kind) for key, kind in _KINDS.items() if key in keys]
    missing = [(key, None, None) for key in _KINDS if key not in keys]
    fields: Any = [*present, *((name, msgspec.Raw) for name in names), *missing]
    element: Any = msgspec.defstruct("Element", fields, rename=names, forbid_unknown_fields=True, gc=False)
    return msgspec.json.Decoder(list[element])


def _extract(values: Sequence[Any]) -> list[list[Any]] | None:
    """The columns of elements that all have numbers where numbers belong; None if one has not, or there are none."""
    if set(map(type, values)) != {dict}:
        return None
    columns = ids, images, categories, crowds, boxes = [[value.get(key) for value in values] for key in _KEYS]
    if not (set(map(type, ids)) <= _OPTIONAL and set(map(type, crowds)) <= _OPTIONAL):
        return None
    if set(map(type, images)) != {int} or set(map(type, categories)) != {int}:
        return None
    if set(map(type, boxes)) != {list} or set(map(len, boxes)) != {4}:
        return None
    return columns if set(map(type, chain.from_iterable(boxes))) <= _NUMBERS else None


def _make_table(places: Array, columns: Sequence[Sequence[Any]], boxes: Array) -> Table:
    """``columns`` are those of ``_KEYS`` but the last. Raises OverflowError for a number of more than 64 bits."""
    ids, images, categories, crowds = columns
    count = len(places)
    try:
        numbers = np.fromiter(ids, dtype=np.int64, count=count)
        named = np.ones(count, dtype=bool)
    except TypeError:  # some have none; to ask every one of them first would take longer than to read all
        numbers = np.fromiter((value or 0 for value in ids), dtype=np.int64, count=count)
        named = np.fromiter((value is not None for value in ids), dtype=bool, count=count)
    return Table(
        places=places.astype(np.int64),
        ids=numbers,
        named=named,
        images=np.fromiter(images, dtype=np.int64, count=count),
        categories=np.fromiter(categories, dtype=np.int64, count=count),
        boxes=boxes,
        crowds=np.fromiter(map(bool, crowds), bool, count) if any(crowds) else np.zeros(count, dtype=bool),
    )


_NOTHING: tuple[tuple[Any, ...], ...] = ((),) * len(_KEYS)

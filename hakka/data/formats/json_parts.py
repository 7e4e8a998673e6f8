"""The object of a JSON text of which one list is read in pieces, cut at a guess that is then proven.

A cut is made behind any brace that a comma follows, though it may stand within a string or deep in an element. But if
every piece is a list of one element or more when it is put into brackets, and if the text with a number in place of
all of them is an object that has a list of this number under the key, then every cut was between two elements.
"""

import re
from collections.abc import Callable, Iterator, Sized
from typing import Any

from hakka.data.formats.json_text import MOST_VALUES, NotJson, Repeated, count_values, parse_json

_NUMBER = 7253918460027719  # stands for the elements
_SPACE = rb"[ \t\r\n]*"
_END = re.compile(rb"\}" + _SPACE + rb"\]")
_COMMA = re.compile(rb"\}" + _SPACE + b",")


def parse_in_pieces(
    text: bytes, key: str, read: Callable[[bytes], Sized | None], size: int
) -> tuple[dict[str, Any], list[Sized]] | None:
    """The object without the elements of the list under ``key``, and these in pieces.

    ``read`` is given each piece as the text of a list, of ``size`` bytes or somewhat more; a piece for which it gives
    None is parsed. None means that nothing is proven: the text is not valid, or not plain, or has very many values.
    """
    begin = re.search(b'"%b"' % re.escape(key.encode()) + _SPACE + b":" + _SPACE + rb"\[", text)
    end = _END.search(text, begin.end()) if begin is not None else None
    if begin is None or end is None:
        return None
    start, stop = begin.end(), end.end() - 1
    frame = b"%b%d%b" % (text[:start], _NUMBER, text[stop:])
    room = MOST_VALUES - count_values(frame)
    try:
        members = parse_json(frame) if room >= 0 else None
        if not isinstance(members, dict) or members.get(key) != [_NUMBER] or frame.count(b"%d" % _NUMBER) > 1:
            return None
        pieces = list(_read(_cut(text, start, stop, size), read, room))
    except NotJson:
        return None
    if (isinstance(members, Repeated) and members.own) or not all(map(len, pieces)):
        return None
    members[key] = []
    return members, pieces


def _cut(text: bytes, start: int, end: int, size: int) -> Iterator[bytes]:
    """The pieces; the commas between them are left out."""
    view = memoryview(text)  # a slice of it is no copy
    while comma := _COMMA.search(text, start + size, end):
        yield b"".join((b"[", view[start : comma.start() + 1], b"]"))
        start = comma.end()
    yield b"".join((b"[", view[start:end], b"]"))


def _read(pieces: Iterator[bytes], read: Callable[[bytes], Sized | None], room: int) -> Iterator[Sized]:
    """The elements of each piece. Raises NotJson if it is not valid, or there are more values than ``room``."""
    for piece in pieces:
        elements = read(piece)
        if elements is None:
            room -= count_values(piece)
            if room < 0:
                raise NotJson("not usable JSON: very many values")
            elements = parse_json(piece)
        yield elements

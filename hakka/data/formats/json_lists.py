"""A JSON object whose lists are read in pieces, so that a file of any size fits into memory."""

from collections.abc import Callable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hakka.data.formats.json_files import Text, open_text
from hakka.data.formats.json_parts import parse_in_pieces
from hakka.data.formats.json_scan import Layout, scan_text
from hakka.data.formats.json_text import MOST_VALUES, NotJson, Repeated, has_many_values, parse_json

SMALL = 32 * 2**20  # bytes of a text that is parsed at once
BLOCK = 4 * 2**20  # bytes of a piece of any other
PART = 2**20  # bytes of a piece of a list that has a reader of its own: what stays in the processor's cache

Reader = Callable[[bytes], Sized | None]
_NO_READERS: Mapping[str, Reader] = MappingProxyType({})


@dataclass(frozen=True)
class Document:
    """A JSON object in a file: parsed whole, or its frame and where the pieces of its lists lie.

    ``held`` is how many bytes of text stand in memory as values. ``readers`` are the lists' own readers by key: each is
    given the text of a piece and gives its elements in a form of its own, or None if it cannot read them.
    """

    path: Path
    members: dict[str, Any]
    held: int
    readers: Mapping[str, Reader]
    parts: Mapping[str, list[Sized]] = field(default_factory=dict)
    layout: Layout | None = None

    def lists(self) -> list[str]:
        """The keys whose values are lists."""
        return [key for key, value in self.members.items() if isinstance(value, list)]

    def pieces(self, key: str) -> Iterator[Any]:
        """The elements of a list, piece by piece.

        Raises:
            NotJson: a piece is not valid, or the file cannot be read.
        """
        if self.layout is None:
            yield from self.parts.get(key, (self.members[key],))
            return
        with open_text(self.path) as text:
            for i, (start, end) in enumerate(self.layout.lists[self.members[key][0]]):
                yield _parse_piece(text, start, end, self.readers.get(key), is_first=i == 0)


def read_document(
    path: Path, readers: Mapping[str, Reader] = _NO_READERS, *, small: int = SMALL, block: int = BLOCK, part: int = PART
) -> Document:
    """The JSON object in a file; of a larger one than ``small`` bytes no list has been parsed yet.

    Any other value that is not larger gives no members.

    Raises:
        NotJson: not valid, with a key that comes twice in the object, or large and not an object.
    """
    with open_text(path) as text:
        whole = text.read(0, text.size) if text.size <= small else b""
        for key, reader in readers.items() if whole else ():
            if (proven := parse_in_pieces(whole, key, reader, part)) is not None:
                return Document(path, proven[0], len(whole), readers, {key: proven[1]})
        if text.size > small or has_many_values(whole):
            layout = scan_text(text, block)
            return Document(path, _members(parse_json(layout.frame)), len(layout.frame), readers, layout=layout)
    return Document(path, _members(parse_json(whole)), len(whole), readers)


def _members(value: Any) -> dict[str, Any]:
    if isinstance(value, Repeated) and value.own:
        raise NotJson(f"not usable JSON: {value}")
    return value if isinstance(value, dict) else {}


def _parse_piece(text: Text, start: int, end: int, reader: Reader | None, *, is_first: bool) -> Any:
    data = text.read(start, end)
    if not is_first:
        after = data.lstrip(b" \t\r\n")
        if not after:
            return []  # the rest of the list, behind its last element
        data = after[1:]
        start = end - len(data)
        if after[:1] != b"," or not data.strip(b" \t\r\n"):
            raise NotJson(f"not valid JSON: a comma and a value expected at byte {start - 1}")
    if has_many_values(data):  # a single one: pieces are cut between elements
        raise NotJson(f"not usable JSON: one element, at byte {start}, holds more than {MOST_VALUES:,} values")
    data = b"[%b]" % data
    elements = reader(data) if reader is not None else None
    return parse_json(data, start - 1) if elements is None else elements

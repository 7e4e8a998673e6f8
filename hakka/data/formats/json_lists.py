"""A JSON object whose lists are read in pieces, so that a file of any size fits into memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hakka.data.formats.json_files import Text, open_text
from hakka.data.formats.json_scan import Layout, scan_text
from hakka.data.formats.json_text import NotJson, Repeated, parse_json

SMALL = 32 * 2**20  # bytes of a text that is parsed at once
MOST_VALUES = 4_000_000  # values of a text that is parsed at once
BLOCK = 4 * 2**20  # bytes of a piece of any other


@dataclass(frozen=True)
class Document:
    """A JSON object in a file: parsed whole, or its frame and where the pieces of its lists lie.

    ``held`` is how many bytes of text stand in memory as values.
    """

    path: Path
    members: dict[str, Any]
    held: int
    layout: Layout | None = None

    def lists(self) -> list[str]:
        """The keys whose values are lists."""
        return [key for key, value in self.members.items() if isinstance(value, list)]

    def pieces(self, key: str) -> Iterator[list[Any]]:
        """The elements of a list, piece by piece.

        Raises:
            NotJson: a piece is not valid, or the file cannot be read.
        """
        if self.layout is None:
            yield self.members[key]
            return
        with open_text(self.path) as text:
            for i, (start, end) in enumerate(self.layout.lists[self.members[key][0]]):
                yield _parse_piece(text, start, end, is_first=i == 0)


def read_document(path: Path, *, small: int = SMALL, block: int = BLOCK) -> Document:
    """The JSON object in a file; of a larger one than ``small`` bytes no list has been parsed yet.

    Any other value that is not larger gives no members.

    Raises:
        NotJson: not valid, with a key that comes twice in the object, or large and not an object.
    """
    with open_text(path) as text:
        whole = text.read(0, text.size) if text.size <= small else b""
        layout = None
        if text.size > small or _count_values(whole) > MOST_VALUES:
            layout = scan_text(text, block)
            whole = layout.frame
        members = parse_json(whole)
    if isinstance(members, Repeated) and members.own:
        raise NotJson(f"not usable JSON: {members}")
    return Document(path, members if isinstance(members, dict) else {}, len(whole), layout)


def _count_values(data: bytes) -> int:
    """At least how many values a text holds, if it is JSON."""
    return sum(map(data.count, (b",", b"[", b"{")))


def _parse_piece(text: Text, start: int, end: int, *, is_first: bool) -> list[Any]:
    data = text.read(start, end)
    if not is_first:
        after = data.lstrip(b" \t\r\n")
        if not after:
            return []  # the rest of the list, behind its last element
        data = after[1:]
        start = end - len(data)
        if after[:1] != b"," or not data.strip(b" \t\r\n"):
            raise NotJson(f"not valid JSON: a comma and a value expected at byte {start - 1}")
    if _count_values(data) > MOST_VALUES:  # a single one: pieces are cut between elements
        raise NotJson(f"not usable JSON: one element, at byte {start}, holds more than {MOST_VALUES:,} values")
    values: list[Any] = parse_json(b"[%b]" % data, start - 1)
    return values

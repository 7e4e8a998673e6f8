"""Where the lists of a JSON object lie in its text, and where they can be cut, found without parsing it.

The text is searched, block by block, for the brackets that stand outside of strings. What is in the lists of the object
is cut into pieces between two elements; the rest is the frame. If the frame is valid JSON, if every piece is, and if
single commas stand between the pieces, then the whole text is valid, and means the same.
"""

from dataclasses import dataclass, field

import numpy as np

from hakka.boxes import Array
from hakka.data.formats.json_files import Text
from hakka.data.formats.json_text import TOO_DEEP, NotJson

LONGEST = 16  # blocks that one element, or all that is in no list, may have
DEEPEST = 500  # brackets around one place
MOST_LISTS = 10_000
MOST_ELEMENTS = 24_000_000  # of all lists, those that are objects or lists

_QUOTE, _SLASH, _OPEN, _OPEN_LIST, _CLOSE, _BAD = range(1, 7)
_MARKS = {'"': _QUOTE, "\\": _SLASH, "{": _OPEN, "[": _OPEN_LIST, "}": _CLOSE, "]": _CLOSE}
_KINDS = bytes(_MARKS.get(chr(code), _BAD if code < 32 and chr(code) not in "\t\n\r" else 0) for code in range(256))


@dataclass
class Layout:
    """``lists`` are the pieces of each list, from one byte to another; ``frame`` is the text with the lists' numbers.

    In the frame ``{"a": [5, 6], "b": [7]}`` is ``{"a": [0], "b": [1]}``.
    """

    frame: bytes = b""
    lists: list[list[tuple[int, int]]] = field(default_factory=list)


def scan_text(text: Text, block: int) -> Layout:
    """The layout of an object's text; a piece is about ``block`` bytes long, and so much is in memory at a time.

    Raises:
        NotJson: it begins with something else than an object, or is found to be no JSON; or it is nested deeper than
            500 brackets, has a longer element or frame than 16 blocks, more than 10,000 lists, or 24,000,000
            objects in them.
    """
    end = text.read(max(0, text.size - block), text.size).rstrip()[-1:]
    if end not in (b"", b"}"):
        raise NotJson(f"not valid JSON: it ends with {end!r}, not with an object")
    scan = _Scan(block)
    for start in range(0, text.size, block):
        scan.feed(start, text.read(start, start + block))
    if scan.depth or scan.quoted:
        raise NotJson("not valid JSON: it ends within a string, a list or an object")
    cuts = [place for pieces in scan.layout.lists for place in (pieces[0][0], pieces[-1][1])]
    parts = [text.read(start, end) for start, end in zip([0, *cuts[1::2]], [*cuts[::2], text.size], strict=True)]
    numbers = [b"%d" % i for i in range(len(scan.layout.lists))]
    scan.layout.frame = b"".join(part for pair in zip(parts, [*numbers, b""], strict=True) for part in pair)
    return scan.layout


class _Scan:
    """What is known at the end of a block: how deep it is, within a string or not, in which list since where."""

    def __init__(self, block: int) -> None:
        self.longest = LONGEST * block
        self.layout = Layout()
        self.depth = 0
        self.quoted = False
        self._elements = 0
        self._escape = False
        self._list: list[tuple[int, int]] | None = None
        self._since = 0  # where the piece begins
        self._framed = 0  # bytes of the frame before the list or the block
        self._frame_since = 0

    def feed(self, start: int, data: bytes) -> None:
        if start == 0 and data.lstrip()[:1] != b"{":
            raise NotJson(f"not an object: it begins with {data.lstrip()[:1]!r}")
        kinds = np.frombuffer(data.translate(_KINDS), dtype=np.uint8)
        places = np.flatnonzero(kinds != 0)
        kinds = kinds[places]
        if (bad := places[kinds == _BAD]).size:
            raise NotJson(f"not valid JSON: a control character at byte {start + int(bad[0])}")
        quotes = self._quotes(places[kinds == _QUOTE], places[kinds == _SLASH], len(data))
        is_bracket = (kinds >= _OPEN) & (kinds <= _CLOSE)
        places, kinds = places[is_bracket], kinds[is_bracket]
        outside = (np.searchsorted(quotes, places) + self.quoted) % 2 == 0
        self.quoted = bool((len(quotes) + self.quoted) % 2)
        self._brackets(places[outside] + start, kinds[outside])
        self._check_length(start + len(data))

    def _quotes(self, quotes: Array, slashes: Array, length: int) -> Array:
        """The quotes that begin or end a string: those without an odd number of backslashes before them."""
        if not len(slashes):
            quotes = quotes[1:] if self._escape and len(quotes) and quotes[0] == 0 else quotes
            self._escape = False
            return quotes
        first = np.flatnonzero(np.diff(slashes, prepend=-2) != 1)
        starts, ends = slashes[first], slashes[np.append(first[1:], len(slashes)) - 1]
        odd = (ends - starts) % 2 == 0
        escaped = ends + 1
        if self._escape and starts[0] == 0:
            odd[0] = not odd[0]
        elif self._escape:
            escaped, odd = np.append(escaped, 0), np.append(odd, True)
        self._escape = bool((escaped[odd] == length).any())
        return quotes[~np.isin(quotes, escaped[odd])]

    def _brackets(self, places: Array, kinds: Array) -> None:
        if not len(places):
            return
        steps = np.where(kinds == _CLOSE, -1, 1)
        depths = self.depth + np.cumsum(steps)
        if depths.max() > DEEPEST:
            raise NotJson(TOO_DEEP)
        if depths.min() < 0:
            raise NotJson(f"not valid JSON: a bracket too many at byte {places[int((depths < 0).argmax())]}")
        self.depth = int(depths[-1])
        opened = (depths == 2) & (kinds == _OPEN_LIST)
        for i in np.flatnonzero(opened | ((depths == 1) & (steps == -1))).tolist():
            self._open(int(places[i]) + 1) if opened[i] else self._close(int(places[i]))
        cuts = places[(depths == 2) & (steps == -1)]
        self._elements += len(cuts)
        if self._elements > MOST_ELEMENTS:
            raise NotJson(f"not usable JSON: more than {MOST_ELEMENTS:,} objects in its lists")
        if self._list is not None and len(cuts) and cuts[-1] >= self._since:
            self._cut(int(cuts[-1]) + 1)

    def _open(self, place: int) -> None:
        if len(self.layout.lists) == MOST_LISTS:
            raise NotJson(f"not usable JSON: an object with more than {MOST_LISTS:,} lists")
        self._list = []
        self.layout.lists.append(self._list)
        self._since = place
        self._framed += place - self._frame_since

    def _close(self, place: int) -> None:
        if self._list is not None:
            self._cut(place)
            self._list = None
            self._frame_since = place

    def _cut(self, place: int) -> None:
        if self._list is not None:
            self._list.append((self._since, place))
            self._since = place

    def _check_length(self, end: int) -> None:
        framed = self._framed + (end - self._frame_since if self._list is None else 0)
        if framed > self.longest:
            raise NotJson(f"not usable JSON: more than {self.longest:,} bytes outside of its lists")
        if self._list is not None and end - self._since > self.longest:
            raise NotJson(f"not usable JSON: an element of more than {self.longest:,} bytes at byte {self._since}")

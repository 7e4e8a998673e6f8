"""Long texts are taken out of a JSON document before it is parsed: photos as base64 are most of it, and not copied.

The parser lets no other thread run: of a photo of 20 MB it would make a text in 50 ms, while its end is found in 2. And
what is left must be short, or the request is refused: 30 MB of empty lists would take seconds and a gigabyte.
"""

import uuid
from collections.abc import Mapping, Sequence

from hakka.errors import InvalidInput

LONG = 1 << 16  # bytes; no other text of a request is longer
# Quotes that are looked at, which every JSON of a few photos has in its first kilobytes or between them.
MOST_QUOTES = 10_000
MOST_BACKSLASHES = 64
# Stands for a long text; nobody else knows it, so no text of a request is taken for it.
MARK = uuid.uuid4().hex

Texts = Mapping[str, memoryview]


class TooLarge(InvalidInput):
    """What is not a photo is larger than this server takes."""


def cut_texts(body: bytes, size: int) -> tuple[Sequence[bytes | memoryview], Texts]:
    """The document in the first ``size`` bytes, in parts, with a mark for every long text; and these, still escaped.

    A document that is no JSON stays none.
    """
    document = memoryview(body)[:size]
    if size <= LONG:
        return [document], {}
    parts: list[bytes | memoryview] = []
    texts: dict[str, memoryview] = {}
    done = at = 0
    start = -1  # of the text that the walk is in
    for _ in range(MOST_QUOTES):
        quote = body.find(b'"', at, size)
        if quote < 0:
            break
        at = quote + 1
        if start < 0:
            start = at
            continue
        backslashes = _count_backslashes(body, start, quote)
        if backslashes == MOST_BACKSLASHES:
            break
        if backslashes % 2:
            continue
        if quote - start > LONG:
            mark = f"{MARK}{len(texts)}"
            texts[mark] = document[start:quote]
            parts += [document[done:start], mark.encode()]
            done = quote
        start = -1
    return [*parts, document[done:]], texts


def _count_backslashes(body: bytes, start: int, end: int) -> int:
    """How many stand before ``end``, up to the most that are looked at."""
    before = body[max(start, end - MOST_BACKSLASHES) : end]
    return len(before) - len(before.rstrip(b"\\"))

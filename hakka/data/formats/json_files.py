"""A JSON file as UTF-8 text that can be read in any part, whatever its encoding."""

import codecs
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO

from hakka.data.formats.json_text import NotJson

_STEP = 2**22  # bytes
_KEPT = 2**25  # bytes of a text in UTF-16 or UTF-32 whose UTF-8 form is held in memory; that of a longer one is on disk


@dataclass(frozen=True)
class Text:
    """An open text of ``size`` bytes."""

    file: IO[bytes]
    offset: int
    size: int

    def read(self, start: int, end: int) -> bytes:
        """The bytes from ``start`` to ``end``.

        Raises:
            NotJson: the file cannot be read, or has become shorter.
        """
        data = _read(self.file, min(end, self.size) - start, self.offset + start)
        if len(data) != min(end, self.size) - start:
            raise NotJson("not usable: the file changed while it was read")
        return data


@contextmanager
def open_text(path: Path) -> Iterator[Text]:
    """The text of a file in UTF-8, UTF-16 or UTF-32, with or without a byte order mark, as UTF-8 without one.

    Raises:
        NotJson: not a regular file, one that cannot be read, or no text of its encoding.
    """
    with _open_regular(path) as file:
        encoding = json.detect_encoding(_read(file, 4))
        if encoding in ("utf-8", "utf-8-sig"):
            mark = len(codecs.BOM_UTF8) if encoding == "utf-8-sig" else 0
            yield Text(file, mark, os.fstat(file.fileno()).st_size - mark)
        else:
            with SpooledTemporaryFile(max_size=_KEPT) as copy:
                yield Text(copy, 0, _recode(file, copy, encoding))


def _open_regular(path: Path) -> IO[bytes]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise NotJson("not a regular file")
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # does not wait for a pipe that has just taken its place
        return os.fdopen(handle, "rb")
    except OSError as error:
        raise NotJson(f"not readable: {error.strerror or error}") from None


def _read(file: IO[bytes], size: int, start: int | None = None) -> bytes:
    try:
        if start is not None:
            file.seek(start)
        return file.read(size)
    except OSError as error:
        raise NotJson(f"not readable: {error.strerror or error}") from None


def _recode(file: IO[bytes], copy: IO[bytes], encoding: str) -> int:
    """Write the UTF-8 form of a text; gives its length."""
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    file.seek(0)
    length = 0
    try:
        while data := _read(file, _STEP):
            text = decoder.decode(data)
            if length == 0 and text.lstrip("\ufeff \t\r\n")[:1] not in ("{", "["):
                raise NotJson(f"not valid JSON: a text in {encoding} that begins with {text[:1]!r}")
            length += copy.write(text.encode("utf-8", "surrogatepass"))
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise NotJson(f"not valid JSON: no text in {encoding}: {error.reason}") from None
    return length

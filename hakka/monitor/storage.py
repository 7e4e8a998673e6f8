"""Where a log lies: a folder, or a prefix of an object store, with one folder a day (yyyy-mm-dd) of whole files."""

import os
import re
import shutil
import time
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from hakka.errors import InvalidInput
from hakka.files import sync_folder, write_whole
from hakka.objects import Place, is_remote, open_url, unreachable

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
ABANDONED_SECONDS = 3600.0  # a file that is being written is renamed within this time, or its writer is gone


class Storage(Protocol):
    """Files by day and name. A file appears whole; it may vanish, and is never changed.

    Everything raises OSError or Unavailable where the place does not take part.
    """

    place: str

    def days(self) -> list[str]:
        """The days for which there are files, sorted."""

    def files(self, day: str) -> list[str]:
        """The names of a day's files, sorted; those in the making are not seen."""

    def read(self, day: str, name: str) -> bytes | None:
        """A file's content, or None where there is no such file."""

    def write(self, day: str, name: str, content: bytes) -> None:
        """Write a file whole; one of that name is replaced."""

    def remove(self, day: str, name: str) -> None:
        """Remove a file, if it is there."""

    def remove_day(self, day: str) -> None:
        """Remove a day with all its files."""

    def tidy(self, day: str) -> None:
        """Remove what writers that were killed left of a day's unfinished files."""


def open_storage(place: Place, below: str = "") -> Storage:
    """The storage at a path or a URL, or in the folder ``below`` it. Nothing is read or made yet.

    Raises:
        InvalidInput: the URL is of no kind that fsspec knows.
    """
    if isinstance(place, str) and place.startswith("file://"):
        place = Path(place.removeprefix("file://"))
    if not is_remote(place):
        return FolderStorage(Path(place) / below)
    return ObjectStorage(f"{str(place).rstrip('/')}/{below}".rstrip("/"))


class FolderStorage:
    """A folder of this machine; files appear by rename, once their bytes are on the disk."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.place = str(root)

    def days(self) -> list[str]:
        """See ``Storage``."""
        try:
            return sorted(name for name in os.listdir(self._root) if _DAY.fullmatch(name))  # noqa: PTH208  (names only)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def files(self, day: str) -> list[str]:
        """See ``Storage``."""
        try:
            return sorted(name for name in os.listdir(self._root / day) if name[0] != ".")  # noqa: PTH208
        except (FileNotFoundError, NotADirectoryError):
            return []

    def read(self, day: str, name: str) -> bytes | None:
        """See ``Storage``."""
        path = self._root / day / name
        if path.exists() and not path.is_file():
            raise InvalidInput("not a regular file")
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def write(self, day: str, name: str, content: bytes) -> None:
        """See ``Storage``."""
        write_whole(self._root / day / name, content)
        sync_folder(self._root / day)

    def remove(self, day: str, name: str) -> None:
        """See ``Storage``."""
        (self._root / day / name).unlink(missing_ok=True)

    def remove_day(self, day: str) -> None:
        """See ``Storage``."""
        shutil.rmtree(self._root / day, ignore_errors=True)

    def tidy(self, day: str) -> None:
        """See ``Storage``."""
        for path in (self._root / day).glob(".*"):
            try:
                if path.stat().st_mtime < time.time() - ABANDONED_SECONDS:
                    path.unlink()
            except FileNotFoundError:
                continue


class ObjectStorage:
    """A prefix of an object store; a file is one PUT. It is opened when it is first used."""

    def __init__(self, url: str) -> None:
        from fsspec import available_protocols

        protocol = url.partition("://")[0]
        if protocol not in available_protocols():
            raise InvalidInput(f"a log's URL must be of a kind that fsspec knows, such as s3://, got {url!r}")
        self.place = url

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        return open_url(self.place)

    def days(self) -> list[str]:
        """See ``Storage``."""
        return [name for name in self._names("") if _DAY.fullmatch(name)]

    def files(self, day: str) -> list[str]:
        """See ``Storage``."""
        return self._names(f"/{day}")

    def read(self, day: str, name: str) -> bytes | None:
        """See ``Storage``."""
        files, root = self._opened
        try:
            return bytes(files.cat_file(f"{root}/{day}/{name}"))
        except FileNotFoundError:
            return None
        except Exception as error:  # each library has kinds of its own
            raise unreachable(self.place, error) from None

    def write(self, day: str, name: str, content: bytes) -> None:
        """See ``Storage``."""
        files, root = self._opened
        try:
            files.pipe_file(f"{root}/{day}/{name}", content)
        except Exception as error:
            raise unreachable(self.place, error) from None

    def remove(self, day: str, name: str) -> None:
        """See ``Storage``."""
        self._remove(f"/{day}/{name}", recursive=False)

    def remove_day(self, day: str) -> None:
        """See ``Storage``."""
        self._remove(f"/{day}", recursive=True)

    def tidy(self, day: str) -> None:
        """See ``Storage``. A PUT that did not end leaves nothing."""

    def _names(self, folder: str) -> list[str]:
        files, root = self._opened
        try:
            files.invalidate_cache()
            found = files.ls(f"{root}{folder}", detail=False)
        except FileNotFoundError:
            return []
        except Exception as error:
            raise unreachable(self.place, error) from None
        names = {str(path).rstrip("/").removeprefix(f"{root}{folder}").strip("/") for path in found}
        return sorted(names - {""})

    def _remove(self, path: str, *, recursive: bool) -> None:
        files, root = self._opened
        try:
            files.rm(f"{root}{path}", recursive=recursive)
        except FileNotFoundError:
            return
        except Exception as error:
            raise unreachable(self.place, error) from None

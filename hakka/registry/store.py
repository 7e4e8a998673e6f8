"""Where a registry lies: a folder of this machine, or any URL that fsspec knows (s3://bucket/registry)."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Protocol

from hakka.errors import Unavailable
from hakka.files import whole_folder
from hakka.objects import open_url, unreachable

Registry = str | Path
READ_ONLY = 0o444


class Store(Protocol):
    """Named files of which none ever changes: that is all a registry needs, and what object stores can promise."""

    def names(self, folder: str) -> list[str]:
        """What lies directly in a folder, sorted; nothing where there is no such folder."""

    def read(self, name: str) -> bytes | None:
        """A file's content, or None where there is no such file."""

    def create(self, name: str, content: bytes) -> bool:
        """Write a new file whole; False, and nothing changes, if the name is taken: of two writers one gets True."""

    def add_folder(self, folder: str, files: Mapping[str, Path], record: str, content: bytes) -> None:
        """Add a folder of files and, last of all, the file ``record`` by which others see that it is complete.

        A folder that is complete already stays as it is.
        """

    def local_folder(self, folder: str, record: str) -> Path | None:
        """A complete folder as one of this machine, or None."""


def open_store(registry: Registry) -> Store:
    """The store behind a path or a URL.

    Raises:
        Unavailable: no library for this kind of URL is installed.
    """
    if isinstance(registry, Path) or "://" not in registry:
        return LocalStore(Path(registry))
    return RemoteStore(registry)


class LocalStore:
    """A folder; what lies in it is read-only, and shares no bytes with the files that it was made from."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self, folder: str) -> list[str]:
        """See ``Store``."""
        path = self._root / folder
        return sorted(item.name for item in path.iterdir() if item.name[0] != ".") if path.is_dir() else []

    def read(self, name: str) -> bytes | None:
        """See ``Store``."""
        try:
            return (self._root / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def create(self, name: str, content: bytes) -> bool:
        """See ``Store``. A hard link appears with its whole content, and only where there is no such name."""
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=".")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(scratch, READ_ONLY)
            os.link(scratch, path)
        except FileExistsError:
            return False
        finally:
            os.unlink(scratch)
        return True

    def add_folder(self, folder: str, files: Mapping[str, Path], record: str, content: bytes) -> None:
        """See ``Store``."""
        target = self._root / folder
        if (target / record).is_file():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".", dir=target.parent))
        try:
            scratch.chmod(0o755)
            for name, source in files.items():
                with source.open("rb") as file:
                    _write(scratch / name, file)
            _write(scratch / record, BytesIO(content))
            os.rename(scratch, target)
        except OSError:
            if not (target / record).is_file():  # else another writer was first with the same files
                raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def local_folder(self, folder: str, record: str) -> Path | None:
        """See ``Store``."""
        path = self._root / folder
        return path if (path / record).is_file() else None


def _write(path: Path, content: BinaryIO) -> None:
    """A new read-only file, on the disk before it is named by a rename of its folder."""
    with path.open("xb") as file:
        shutil.copyfileobj(content, file)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(READ_ONLY)


class RemoteStore:
    """An object store; what is loaded from it is kept under ``HAKKA_HOME/cache/models``."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._files, self._root = open_url(url)

    def names(self, folder: str) -> list[str]:
        """See ``Store``."""
        self._files.invalidate_cache()
        try:
            found = self._files.ls(f"{self._root}/{folder}", detail=False)
        except FileNotFoundError:
            return []
        except Exception as error:
            raise self._unavailable(error) from None
        return sorted(str(path).rstrip("/").rpartition("/")[2] for path in found)

    def read(self, name: str) -> bytes | None:
        """See ``Store``."""
        try:
            return bytes(self._files.cat_file(f"{self._root}/{name}"))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._unavailable(error) from None

    def create(self, name: str, content: bytes) -> bool:
        """See ``Store``. On S3 this is a PUT with ``If-None-Match: *``."""
        try:
            self._files.pipe_file(f"{self._root}/{name}", content, mode="create")
        except FileExistsError:
            return False
        except Exception as error:
            raise self._unavailable(error) from None
        return True

    def add_folder(self, folder: str, files: Mapping[str, Path], record: str, content: bytes) -> None:
        """See ``Store``."""
        if self.read(f"{folder}/{record}") is not None:
            return
        try:
            for name, source in files.items():
                self._files.put_file(str(source), f"{self._root}/{folder}/{name}")
        except Exception as error:
            raise self._unavailable(error) from None
        self.create(f"{folder}/{record}", content)

    def local_folder(self, folder: str, record: str) -> Path | None:
        """See ``Store``. The folder is named by what it holds, so what was fetched once is not fetched again."""
        from hakka.settings import read_settings

        target = read_settings().cache / "models" / Path(folder).name
        if (target / record).is_file():
            return target
        content = self.read(f"{folder}/{record}")
        if content is None:
            return None
        with whole_folder(target) as scratch:
            for name in self.names(folder):
                if name != record:
                    self._fetch(f"{folder}/{name}", scratch / name)
            (scratch / record).write_bytes(content)
        return target

    def _fetch(self, name: str, target: Path) -> None:
        try:
            self._files.get_file(f"{self._root}/{name}", str(target))
        except Exception as error:
            raise self._unavailable(error) from None

    def _unavailable(self, error: Exception) -> Unavailable:
        return unreachable(f"the registry {self._url}", error)

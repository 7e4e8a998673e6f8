"""Writing whole: a file or folder appears by rename, or not at all."""

import fcntl
import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from hakka.errors import InvalidInput

_NEXT, _LAST = ".next-", ".last-"  # scratch folders: what will be at a path, what was


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: Any) -> bytes:
    """The one JSON text of a value: sorted keys, no spaces, UTF-8. Digests are taken over it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A scratch file beside ``path``, open to write, that replaces it on a clean exit and is removed on any other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    with whole_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk: a rename survives a power cut only once this was done."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON, whole."""
    write_whole(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The value of a JSON file that Hakka itself wrote.

    Raises:
        InvalidInput: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InvalidInput(f"{path}: no such file") from None
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}: not valid JSON: {error}") from None


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A scratch folder beside ``path`` that replaces it on a clean exit and is removed on any other.

    What cannot be replaced stays as it was, and so does a link: the place that it leads to is written. What a process
    that was killed left of such folders is removed first.

    Raises:
        InvalidInput: ``path`` is a link that leads in a circle.
    """
    path = real_path(path) if path.is_symlink() else path
    path.parent.mkdir(parents=True, exist_ok=True)
    restore_folder(path)
    with _scratch(path, _NEXT) as scratch:
        try:
            scratch.chmod(0o755)
            yield scratch
            if path.exists():
                with _scratch(path, _LAST) as last:
                    try:
                        os.replace(path, last / path.name)
                        os.replace(scratch, path)
                    finally:
                        _put_back(last, path)
            else:
                os.replace(scratch, path)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise


def restore_folder(path: Path) -> bool:
    """Bring back the folder that a process was about to replace at ``path`` when it was killed; True if there was one.

    What else such processes left beside ``path`` is removed; one that is still at it is left alone.
    """
    restored = [_put_back(last, path) for last in _abandoned(path, _LAST)]
    for folder in _abandoned(path, _NEXT):
        shutil.rmtree(folder, ignore_errors=True)
    return any(restored)


def _put_back(last: Path, path: Path) -> bool:
    """Remove the scratch folder of what was at ``path``, which comes back (True) if nothing else is there now."""
    is_missing = not path.exists() and os.path.lexists(last / path.name)
    if is_missing:
        os.replace(last / path.name, path)
    shutil.rmtree(last, ignore_errors=True)
    return is_missing


@contextmanager
def _scratch(path: Path, kind: str) -> Iterator[Path]:
    """An empty folder beside ``path``; while it is in use it is locked, which ends with the process."""
    while True:
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}{kind}"))
        with _locked(folder) as is_locked:
            if is_locked is not False and folder.is_dir():  # else another process took it for an abandoned one
                yield folder
                return


def _abandoned(path: Path, kind: str) -> Iterator[Path]:
    """The scratch folders beside ``path`` whose processes are gone, each locked while it is looked at."""
    for folder in path.parent.glob(f".{glob.escape(path.name)}{kind}*"):
        with _locked(folder) as is_locked:
            if is_locked:
                yield folder


@contextmanager
def _locked(folder: Path) -> Iterator[bool | None]:
    """True while the folder is locked; False if another process has the lock; None if it is gone or has no locks."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        yield None
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_locked: bool | None = True
    except BlockingIOError:
        is_locked = False
    except OSError:  # some file systems
        is_locked = None
    try:
        yield is_locked
    finally:
        os.close(handle)


def own_path(text: str) -> Path:
    """A path as a person writes it, ``~`` being their home; the home of a user that there is not stays as it stands."""
    return Path(os.path.expanduser(text))  # noqa: PTH111  (pathlib's raises there)


def real_path(path: Path) -> Path:
    """The absolute path without links; it need not be there.

    Raises:
        InvalidInput: its links lead in a circle.
    """
    with suppress(OSError, RuntimeError):  # RuntimeError is what pathlib raised until Python 3.13
        if not (real := path.resolve()).is_symlink():
            return real
    raise InvalidInput(f"{path}: must be a path, got links that lead in a circle")


def link_file(source: Path, target: Path) -> None:
    """Give ``source`` a second name without copying its bytes; copy only across file systems."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)

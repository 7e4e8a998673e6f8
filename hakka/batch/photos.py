"""Which photos a command means: files, folders, globs, and addresses in an object store."""

import glob
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hakka.errors import InvalidInput
from hakka.objects import is_remote, open_url, unreachable

# What a folder's photos end in. The others are no formats of ours: such a file becomes a row that says so.
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".avif", ".bmp", ".gif", ".heic", ".heif", ".tif", ".tiff")
MAX_BYTES = 32 * 2**20


@dataclass(frozen=True)
class PhotoFile:
    """A photo by its name in the results; ``size`` in bytes and ``stamp`` (time or ETag) tell whether it changed."""

    name: str
    address: str
    size: int
    stamp: str
    files: Any = field(default=None, compare=False)  # its fsspec file system, None for this machine's

    def read(self) -> bytes:
        """Its bytes.

        Raises:
            InvalidInput: there is no such file any more, or none of a kind and size that is read.
            Unavailable: the object store does not answer.
        """
        if self.size > MAX_BYTES:
            raise InvalidInput(f"image: must have at most {MAX_BYTES} bytes, got {self.size}")
        if self.files is not None:
            try:
                return bytes(self.files.cat_file(self.address))
            except FileNotFoundError:
                raise InvalidInput("image: no such file") from None
            except Exception as error:
                raise unreachable(self.name, error) from None
        try:
            if not stat.S_ISREG(os.stat(self.address).st_mode):  # noqa: PTH116  a pipe would be read for ever
                raise InvalidInput("image: must be a regular file")
            with open(self.address, "rb") as file:  # noqa: PTH123
                content = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise InvalidInput(f"image: cannot be read: {error.strerror or error}") from None
        if len(content) > MAX_BYTES:
            raise InvalidInput(f"image: must have at most {MAX_BYTES} bytes, got more")
        return content


def is_batch(places: Sequence[str]) -> bool:
    """Whether these are not simply one photo."""
    return len(places) > 1 or is_remote(places[0]) or Path(places[0]).is_dir() or _is_glob(places[0])


def find_photos(places: Sequence[str]) -> list[PhotoFile]:
    """The photos of some places, sorted by name, each once.

    A photo of a folder (and of the folders in it) is named relative to it if that is the only place; else photos are
    named as the place writes them. Hidden files are left out, and in folders everything that no photo is called.

    Raises:
        InvalidInput: a place does not exist, or holds no photo.
        Unavailable: an object store does not answer.
    """
    found: dict[str, PhotoFile] = {}
    for place in places:
        photos = list(_remote(place, len(places) == 1) if is_remote(place) else _local(place, len(places) == 1))
        if not photos:
            raise InvalidInput(f"{place}: no photo here; their names must end in {', '.join(SUFFIXES)}")
        found |= {photo.address: photo for photo in photos}
    return sorted(found.values(), key=lambda photo: (photo.name, photo.address))


def _local(place: str, only: bool) -> Iterator[PhotoFile]:
    if Path(place).is_dir():
        for folder, inner, names in os.walk(place):
            inner[:] = [name for name in inner if name[0] != "."]
            for name in names:
                if _is_photo(name):
                    path = os.path.join(folder, name)  # noqa: PTH118
                    yield _local_file(path, os.path.relpath(path, place) if only else path)
    elif not Path(place).exists() and _is_glob(place):
        yield from (_local_file(path, path) for path in glob.iglob(place, recursive=True) if not Path(path).is_dir())  # noqa: PTH207
    elif Path(place).exists():
        yield _local_file(place, place)
    else:
        raise InvalidInput(f"{place}: no such photo")


def _local_file(path: str, name: str) -> PhotoFile:
    # A name may be any bytes; results are text.
    name = os.fsencode(name).decode("utf-8", "replace")
    try:
        about = os.stat(path)  # noqa: PTH116
    except OSError:  # a link to nothing
        return PhotoFile(name, path, 0, "")
    return PhotoFile(name, path, about.st_size, str(about.st_mtime_ns))


def _remote(url: str, only: bool) -> Iterator[PhotoFile]:
    files, root = open_url(url)
    protocol = url.partition("://")[0]
    try:
        files.invalidate_cache()
        found = (files.glob if _is_glob(root) else files.find)(root, detail=True)
    except FileNotFoundError:
        raise InvalidInput(f"{url}: no such folder") from None
    except Exception as error:
        raise unreachable(url, error) from None
    folder = not _is_glob(root) and root not in found
    for path, about in found.items():
        inner = path.removeprefix(f"{root}/") if folder and only else ""
        if about.get("type") == "file" and (not folder or _is_photo(path.rpartition("/")[2])):
            stamp = next((str(about[key]) for key in ("ETag", "mtime", "LastModified", "created") if key in about), "")
            yield PhotoFile(
                inner or f"{protocol}://{path.lstrip('/')}", path, int(about.get("size") or 0), stamp, files
            )


def _is_photo(name: str) -> bool:
    return name[0] != "." and name.lower().endswith(SUFFIXES)


def _is_glob(text: str) -> bool:
    return any(sign in text for sign in "*?[")

"""What lies in a source folder."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hakka.errors import InvalidInput

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".avif"}
)

_DATASET = {"dataset.json", "index.jsonl", "labels"}  # what only a folder that Hakka wrote holds


@dataclass(frozen=True)
class Listing:
    """All files under ``source`` as sorted POSIX paths relative to it; hidden files and folders are left out."""

    source: Path
    files: tuple[str, ...]

    @cached_property
    def images(self) -> tuple[str, ...]:
        """The files whose name says that they are images."""
        return tuple(name for name in self.files if name[name.rfind(".") :].lower() in IMAGE_SUFFIXES)

    def with_suffix(self, suffix: str) -> tuple[str, ...]:
        """The files whose name ends in ``suffix``, in any case."""
        return tuple(name for name in self.files if name[-len(suffix) :].lower() == suffix)


def list_source(source: Path, *, exclude: Path | None = None) -> Listing:
    """The files of a source folder, links followed; ``exclude`` (a folder that is being written) is passed over.

    Raises:
        InvalidInput: the folder is missing, is no folder, or holds no file.
    """
    if not source.is_dir():
        raise InvalidInput(
            f"{source}: the data must be a folder, " + ("got a file" if source.exists() else "none there")
        )
    excluded = exclude.resolve() if exclude is not None else None
    files: list[str] = []
    seen: set[Path] = set()
    for folder, folders, names in os.walk(source, followlinks=True):
        here = Path(folder).resolve()
        if here in seen or here == excluded or (seen and {*names, *folders} >= _DATASET):
            folders.clear()  # a link that leads back up, the output inside the source, or an earlier output
            continue
        seen.add(here)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        prefix = "" if folder == os.fspath(source) else f"{Path(folder).relative_to(source).as_posix()}/"
        files += [prefix + name for name in names if name[0] != "."]
    if not files:
        raise InvalidInput(f"{source}: the data folder is empty")
    return Listing(source, tuple(sorted(files)))

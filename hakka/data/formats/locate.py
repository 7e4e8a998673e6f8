"""Which file of the source an annotation means."""

import re
import sys
from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property
from pathlib import PurePosixPath

from hakka.data.listing import Listing

_VALIDATION = ("val", "valid", "validation")
_SPLIT_WORDS = {"train": "train", "training": "train", "test": "test", "testing": "test"} | dict.fromkeys(
    _VALIDATION, "val"
)


class Locator:
    """Finds the file that a ``file_name`` means, by a fixed rule, among the files that were listed.

    Tried in this order, the first that exists wins; FOLDER is where the annotation file lies, SPLIT is each word of its
    name (``instances_train2017.json``: instances, train2017; val, valid and validation mean the same):

    1. ``file_name`` from the source folder, 2. from FOLDER,
    3. from ``images/``, ``SPLIT/`` and ``images/SPLIT/`` in the source folder, then in FOLDER, then in FOLDER's parent,
    4. the only file anywhere in the source whose path ends in ``/file_name``.

    Backslashes are read as slashes. A name that is absolute or climbs with ``..`` never means a file.
    """

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._files = {path: path for path in listing.files}

    def locate(self, file_name: str, annotation_file: str) -> tuple[str | None, str]:
        """The file's path relative to the source and "", or None and the reason."""
        if "\\" not in file_name and file_name[1:2] != ":":  # a listed path neither climbs nor is absolute
            for folder in self._folders(annotation_file):
                if (path := self._files.get(folder + file_name)) is not None:
                    return path, ""
        name = file_name.replace("\\", "/")
        if name.startswith("/") or re.match(r"[A-Za-z]:", name):
            return None, f"file_name must be relative, got {file_name[:200]!r}"
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts or not parts:
            return None, f"file_name must not leave the source folder, got {file_name[:200]!r}"
        name = "/".join(parts)
        for folder in self._folders(annotation_file):
            if folder + name in self._files:
                return folder + name, ""
        return self._by_ending(name)

    def locate_all(self, file_names: Sequence[str], annotation_file: str) -> list[str] | None:
        """The files of names that all are plain and mean a file in the same folder; None if that is not so."""
        letters = "".join(file_names)
        if not letters.isascii() or "\\" in letters or ":" in letters:
            return None
        for folder in self._folders(annotation_file):
            wanted = [folder + name for name in file_names] if folder else file_names
            if not self._files.keys().isdisjoint(wanted):
                try:
                    paths = list(map(self._files.__getitem__, wanted))
                except KeyError:
                    return None
                return paths if folder.isascii() else None
        return None

    def _folders(self, annotation_file: str) -> list[str]:
        if annotation_file not in self._folder_cache:
            path = PurePosixPath(annotation_file)
            words = [word for word in re.split(r"[^0-9A-Za-z]+", path.stem) if word]
            words += [twin for word in words if word in _VALIDATION for twin in _VALIDATION if twin != word]
            inner = ["", "images/"] + [folder + word + "/" for word in words for folder in ("", "images/")]
            bases = dict.fromkeys(_prefix(base) for base in (PurePosixPath(), path.parent, path.parent.parent))
            direct = ["", _prefix(path.parent)]
            self._folder_cache[annotation_file] = list(
                dict.fromkeys(direct + [base + folder for base in bases for folder in inner])
            )
        return self._folder_cache[annotation_file]

    def _by_ending(self, name: str) -> tuple[str | None, str]:
        ending = f"/{name}"[::-1]
        first = bisect_left(self._backwards, ending)
        count = bisect_left(self._backwards, ending + chr(sys.maxunicode), first) - first
        if count == 1:
            return self._backwards[first][::-1], ""
        if count:
            some = sorted(path[::-1] for path in self._backwards[first : first + min(count, 2)])
            return None, f"file_name {name[:200]!r} could mean {count} files, among them {some[0]} and {some[1]}"
        return None, f"no such image file: {name[:200]!r}"

    @cached_property
    def _folder_cache(self) -> dict[str, list[str]]:
        return {}

    @cached_property
    def _backwards(self) -> list[str]:
        """All paths from their last letter to the first, sorted: those with one ending lie together."""
        return sorted(path[::-1] for path in self._listing.files)


def _prefix(folder: PurePosixPath) -> str:
    return "" if folder == PurePosixPath() else f"{folder}/"


def source_split(path: str) -> str | None:
    """train, val or test if exactly one of them is a word of the path of an annotation file, else None.

    Digits behind the word do not count: ``instances_val2017.json`` is val. Of an image only the folder says something:
    see ``folder_split``.
    """
    splits = {_SPLIT_WORDS[word] for word in re.split(r"[^a-z]+", path.lower()) if word in _SPLIT_WORDS}
    return splits.pop() if len(splits) == 1 else None


def folder_split(path: str) -> str | None:
    """train, val or test if exactly one of them is a word of the folders of ``path``, else None."""
    return source_split(path[: path.rfind("/") + 1])

"""Which file of the source an annotation means."""

import re
from collections import defaultdict
from functools import cached_property
from pathlib import PurePosixPath

from hakka.data.listing import Listing

_VALIDATION = ("val", "valid", "validation")


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
        self._files = frozenset(listing.files)

    def locate(self, file_name: str, annotation_file: str) -> tuple[str | None, str]:
        """The file's path relative to the source and "", or None and the reason."""
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
        found = [path for path in self._by_base[name.rpartition("/")[2]] if path.endswith("/" + name)]
        if len(found) == 1:
            return found[0], ""
        if found:
            return None, f"file_name {name[:200]!r} could mean {len(found)} files, among them {found[0]} and {found[1]}"
        return None, f"no such image file: {name[:200]!r}"

    @cached_property
    def _folder_cache(self) -> dict[str, list[str]]:
        return {}

    @cached_property
    def _by_base(self) -> defaultdict[str, list[str]]:
        by_base: defaultdict[str, list[str]] = defaultdict(list)
        for path in self._listing.files:
            by_base[path.rpartition("/")[2]].append(path)
        return by_base


def _prefix(folder: PurePosixPath) -> str:
    return "" if folder == PurePosixPath() else f"{folder}/"

"""The image of the source that an annotation means, where tools write paths of another machine or none at all."""

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property

from hakka.data.formats.locate import Locator
from hakka.data.listing import IMAGE_SUFFIXES, Listing
from hakka.texts import short

OTHER_PLACE = "the path of the image is of another place; the image with that name was taken"
OTHER_NAME = "the image that is named is not there; the image with the same stem was taken"
_DEEPEST = 16  # folders of a foreign path that are compared


class ImageFinder:
    r"""Finds an image by the names that an annotation file gives for it.

    Tried in this order, the first that finds an image wins:

    1. each name as ``Locator`` reads it; a name that climbs with ``..`` is followed from the annotation file's folder
       as long as it stays in the source,
    2. each name without its first folders, the longest ending first (``C:\Users\me\train\1.jpg``: ``train/1.jpg``,
       then ``1.jpg``),
    3. the image with the stem of the name, or of an annotation file that is about one image: beside that file, else the
       only one in the source.
    """

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._locator = Locator(listing)

    def find(self, written: Iterable[str], file: str, *, one_image: bool) -> tuple[str | None, str]:
        """The image's path and how it was found ("" by 1, OTHER_PLACE by 2, OTHER_NAME by 3), or None and the reason.

        ``one_image`` says that the annotation file is about one image.
        """
        names = [name.replace("\\", "/") for name in written if name.strip()]
        reason = f"no image file is named for {short(file)}"
        for i, name in enumerate(names):
            path, why = self._as_written(name, file)
            if path is not None:
                return path, ""
            reason = why if i == 0 else reason
        for name in names:
            path = self.find_elsewhere(name, file)
            if path is not None:
                return path, OTHER_PLACE
        for stem_of in [*names, file] if one_image else names:
            path = self._by_stem(stem_of, file)
            if path is not None:
                return path, OTHER_NAME
        return None, reason

    def find_elsewhere(self, name: str, file: str) -> str | None:
        """The image by rule 2 alone."""
        parts = [part for part in re.split(r"[/\\:]", name) if part not in ("", ".", "..")]
        for i in range(max(0, len(parts) - _DEEPEST), len(parts)):
            path, _ = self._locator.locate("/".join(parts[i:]), file)
            if path in self._images:
                return path
        return None

    def only_named(self, base: str) -> str | None:
        """The only image of the source whose base name is ``base``."""
        found = self._by_base.get(base, ())
        return found[0] if len(found) == 1 else None

    def _as_written(self, name: str, file: str) -> tuple[str | None, str]:
        only = self.only_named(name)
        if only is not None:  # whatever the rule, no other file could be meant
            return only, ""
        folder = file.rpartition("/")[0]
        beside = f"{folder}/{name}" if folder else name
        for path in (name, beside):  # the first that Locator tries, and nearly always enough
            if path in self._images:
                return path, ""
        if ".." in name.split("/") and not name.startswith("/"):
            joined = posixpath.normpath(beside)
            if joined in self._images:
                return joined, ""
        found, reason = self._locator.locate(name, file)
        return (found, "") if found in self._images else (None, reason or f"not an image file: {short(found)}")

    def _by_stem(self, name: str, file: str) -> str | None:
        stem = _stem(posixpath.basename(name))
        beside = self._by_folder_and_stem.get((posixpath.dirname(file), stem), [])
        found = beside or self._by_stem_alone.get(stem, [])
        return found[0] if len(found) == 1 else None

    @cached_property
    def _images(self) -> frozenset[str]:
        return frozenset(self._listing.images)

    @cached_property
    def _by_base(self) -> defaultdict[str, list[str]]:
        by_base: defaultdict[str, list[str]] = defaultdict(list)
        for image in self._listing.images:
            by_base[posixpath.basename(image)].append(image)
        return by_base

    @cached_property
    def _by_stem_alone(self) -> defaultdict[str, list[str]]:
        by_stem: defaultdict[str, list[str]] = defaultdict(list)
        for image in self._listing.images:
            by_stem[_stem(posixpath.basename(image))].append(image)
        return by_stem

    @cached_property
    def _by_folder_and_stem(self) -> defaultdict[tuple[str, str], list[str]]:
        by_both: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for image in self._listing.images:
            by_both[posixpath.dirname(image), _stem(posixpath.basename(image))].append(image)
        return by_both


def tell_often(what: str, first: str, count: int) -> str:
    """A note that is due for ``count`` elements, of which the first stands at ``first``."""
    return f"{first}: {what}" + (f" (and {count - 1} more like this)" if count > 1 else "")


def _stem(base: str) -> str:
    """The name without the suffix of an image or an annotation file; any other dot belongs to the stem."""
    stem, dot, suffix = base.rpartition(".")
    return stem if dot and stem and f".{suffix.lower()}" in IMAGE_SUFFIXES | {".json", ".xml", ".txt"} else base

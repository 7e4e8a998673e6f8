"""COCO JSON in: one file, or one a split, anywhere under the source."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from hakka.boxes import Array
from hakka.data.collector import collector_paused
from hakka.data.findings import Finding, refuse_image
from hakka.data.formats.annotations import Annotations, SourceImage
from hakka.data.formats.coco_boxes import Boxes, Columns
from hakka.data.formats.coco_images import Images, Taken
from hakka.data.formats.coco_table import read_alike
from hakka.data.formats.coco_values import MOST_BOXES, MOST_IMAGES, Key, id_key
from hakka.data.formats.json_lists import Document, read_document
from hakka.data.formats.json_text import NotJson, find_repeated
from hakka.data.formats.locate import Locator
from hakka.data.formats.naming import OTHER_PLACE, ImageFinder, tell_often
from hakka.data.listing import Listing
from hakka.errors import InvalidInput
from hakka.texts import is_text, printable, short

_MOST = {"images": MOST_IMAGES, "annotations": MOST_BOXES, "categories": MOST_IMAGES}
_READERS = {"annotations": read_alike}
_KEPT = 64 * 2**20  # bytes of JSON that stay in memory between looking and reading


@dataclass(frozen=True)
class Found:
    """The COCO files of a source by name (None: not held in memory), and why each other JSON file is none."""

    files: dict[str, Document | None]
    strangers: dict[str, str]


@collector_paused()
def find_coco(listing: Listing) -> Found:
    """Look into every JSON file of the source; of large ones only their frame is parsed."""
    found = Found({}, {})
    room = _KEPT
    for name in listing.with_suffix(".json"):
        try:
            document = _read(listing, name)
        except NotJson as error:
            found.strangers[name] = str(error)
            continue
        found.files[name] = document if document.held <= room else None
        room -= document.held if document.held <= room else 0
    return found


@collector_paused()
def read_coco(listing: Listing, found: Found) -> Annotations:
    """Images, boxes and names of all COCO files; classes that bear one name in two files are one class.

    Raises:
        InvalidInput: a large file turns out to be no JSON, or a file changed since ``find_coco`` looked into it.
    """
    reader = _Reader(listing)
    for read in (reader.read, reader.read_waiting):
        for name, document in found.files.items():
            try:
                read(name, document)
            except NotJson as error:
                raise InvalidInput(f"{listing.source / name}: {error}") from None
    reader.note_elsewhere()
    reader.note_strangers(found.strangers)
    reader.refuse_unlisted()
    return Annotations(
        format="coco",
        files=tuple(found.files),
        names=tuple(reader.names),
        images=tuple(reader.images),
        images_found=reader.images_found,
        boxes_found=reader.boxes_found,
        findings=tuple(reader.findings),
    )


def _read(listing: Listing, name: str) -> Document:
    """Raises NotJson if it is no COCO."""
    document = read_document(listing.source / name, _READERS)
    lists = document.lists()
    missing = [key for key in _MOST if key not in lists]
    if missing:
        raise NotJson(f"COCO needs the lists {', '.join(_MOST)}; missing {', '.join(missing)}")
    return document


def _elements(document: Document, key: str) -> Iterator[Any]:
    """The pieces of one of the lists. Raises NotJson if there are too many elements."""
    length = 0
    for piece in document.pieces(key):
        length += len(piece)
        if length > _MOST[key]:
            raise NotJson(f"not usable: more than {_MOST[key]:,} {key} in one file")
        yield piece


class _Reader:
    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.locator = Locator(listing)
        self.names: dict[str, int] = {}
        self.images: list[SourceImage] = []
        self.findings: list[Finding] = []
        self.images_found = 0
        self.boxes_found = 0
        self._taken = Taken()
        self._waiting: dict[str, tuple[Images, dict[Key, int | str]]] = {}
        self._elsewhere: list[str] = []

    def read(self, file: str, document: Document | None) -> None:
        """Read a file; if it means images that are not there, its boxes wait until the others have taken theirs."""
        document = document or _read(self.listing, file)
        self._note_repeated(file, document)
        images = Images(file, self.locator, self._taken)
        classes = self._read_categories(file, document)
        for piece in _elements(document, "images"):
            images.add(piece)
        if images.lost:
            self._waiting[file] = images, classes
        else:
            self._read_boxes(file, document, images, classes)

    def read_waiting(self, file: str, document: Document | None) -> None:
        """Look for the images of a file that waits by their names alone, and read its boxes."""
        if file in self._waiting:
            meant = self._meant[file]
            images, classes = self._waiting.pop(file)
            self._elsewhere += images.take_elsewhere(meant)
            self._read_boxes(file, document or _read(self.listing, file), images, classes)

    def note_elsewhere(self) -> None:
        if self._elsewhere:
            self._note(tell_often(OTHER_PLACE, self._elsewhere[0], len(self._elsewhere)))

    @cached_property
    def _meant(self) -> dict[str, dict[int, str]]:
        """By file and row the image that a lost element means by its name alone, if no other path may mean it too.

        Of ``a/1.jpg`` and ``b/1.jpg`` nobody can say which one is ``1.jpg``, and a guess would be wrong boxes.
        """
        finder = ImageFinder(self.listing)
        found = {file: images.look_elsewhere(finder) for file, (images, _) in self._waiting.items()}
        names: dict[str, set[str]] = {}
        for file, paths in found.items():
            lost = self._waiting[file][0].lost
            for row, path in paths.items():
                names.setdefault(path, set()).add(lost[row]["file_name"])
        return {
            file: {row: path for row, path in paths.items() if len(names[path]) == 1} for file, paths in found.items()
        }

    def _read_boxes(self, file: str, document: Document, images: Images, classes: dict[Key, int | str]) -> None:
        boxes = Boxes(file, images, classes)
        for piece in _elements(document, "annotations"):
            boxes.add(piece)
        columns = boxes.finish()
        self.images_found += len(images.paths)
        self.boxes_found += boxes.found
        self.findings += [*boxes.findings(), *images.findings()]
        if boxes.outlines:
            self._note(f"{file}: {boxes.outlines} annotations without bbox have the box around their segmentation")
        self._gather(images, columns)

    def note_strangers(self, strangers: dict[str, str]) -> None:
        for name, reason in strangers.items():
            self._note(f"{printable(name)}: passed over: {reason}")

    def refuse_unlisted(self) -> None:
        # nearly all files are listed: whether they are images need only be asked of the rest
        unlisted = tuple(name for name in self.listing.files if name not in self._taken.places)
        for name in Listing(self.listing.source, unlisted).images:
            self.images_found += 1
            self.findings.append(refuse_image(printable(name), "no annotation file lists this image", 0))

    def _note(self, reason: str) -> None:
        self.findings.append(Finding("note", None, None, reason))

    def _gather(self, images: Images, columns: Columns) -> None:
        bounds = np.searchsorted(columns.rows, np.arange(len(images.paths) + 1))
        places = _to_places(columns.places, bounds)
        boxes = [columns.boxes[start:end] for start, end in pairwise(bounds.tolist())]
        self.images += [
            SourceImage(path, size, boxes[row], places[row], "pixels", split)
            for row, path, size, split in images.kept()
        ]

    def _note_repeated(self, file: str, document: Document) -> None:
        """Keys that come twice where nothing is read from."""
        for key, value in document.members.items():
            if key not in _MOST:
                parts = document.pieces(key) if isinstance(value, list) else (value,)
                repeated = next((found for part in parts if (found := find_repeated(part)) is not None), None)
                if repeated is not None:
                    self._note(f"{printable(file)}: {repeated}, under {short(key)}")

    def _read_categories(self, file: str, document: Document) -> dict[Key, int | str]:
        """Category id → class index, or the reason why boxes of this category are refused."""
        categories: dict[Key, int | str] = {}
        named: dict[Key, str] = {}
        values = [value for piece in _elements(document, "categories") for value in piece]
        for i, value in enumerate(values):
            key = id_key(value.get("id")) if isinstance(value, dict) else None
            name = value.get("name") if isinstance(value, dict) else None
            if (repeated := find_repeated(value)) is not None:
                self._note(f"category {i} of {file}: not read: {repeated}")
            elif key is None or not is_text(name) or not name.strip():
                self._note(f"category {i} of {file}: needs an id and a name, got {short(value)}")
            elif named.get(key, name) != name:
                categories[key] = f"category id {short(key)} means both {short(named[key])} and {short(name)}"
                self._note(f"{file}: {categories[key]}")
            elif key not in categories:
                named[key] = name
                categories[key] = self.names.setdefault(name, len(self.names))
        return categories


def _to_places(places: Array, bounds: Array) -> list[Sequence[int]]:
    """The places from each bound to the next; those that follow each other as a range, which needs least memory."""
    padded = np.append(places, 0)
    first, last = padded[bounds[:-1]], padded[bounds[1:] - 1]
    counts = np.diff(bounds)
    whole = (last - first == counts - 1) & (counts > 0)
    return [
        range(start, start + count) if is_whole else tuple(places[begin : begin + count].tolist())
        for start, count, is_whole, begin in zip(
            first.tolist(), counts.tolist(), whole.tolist(), bounds.tolist(), strict=False
        )
    ]

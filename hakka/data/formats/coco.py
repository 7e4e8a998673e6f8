"""COCO JSON in: one file, or one a split, anywhere under the source."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hakka.data.findings import Finding, is_text, printable, refuse_box, refuse_image, short
from hakka.data.formats.annotations import Annotations, SourceImage
from hakka.data.formats.locate import Locator
from hakka.data.listing import Listing

LIMIT = 1e7  # pixels; a coordinate beyond is no position in any image
_LISTS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class Found:
    """The COCO files of a source by name, parsed, and why each other JSON file is none."""

    files: dict[str, dict[str, Any]]
    strangers: dict[str, str]


def find_coco(listing: Listing) -> Found:
    """Look into every JSON file of the source."""
    found = Found({}, {})
    for name in listing.with_suffix(".json"):
        value, reason = _parse(listing.source / name)
        missing = [key for key in _LISTS if not isinstance(value, dict) or not isinstance(value.get(key), list)]
        if reason or missing:
            found.strangers[name] = reason or f"COCO needs the lists {', '.join(_LISTS)}; missing {', '.join(missing)}"
        else:
            found.files[name] = value
    return found


def read_coco(listing: Listing, found: Found) -> Annotations:
    """Images, boxes and names of all COCO files; classes that bear one name in two files are one class."""
    reader = _Reader(listing)
    for name, content in found.files.items():
        reader.read(name, content)
    reader.note_strangers(found.strangers)
    reader.refuse_unlisted()
    return Annotations(
        format="coco",
        files=tuple(found.files),
        names=tuple(reader.names),
        images=tuple(reader.images()),
        images_found=reader.images_found,
        boxes_found=reader.boxes_found,
        findings=tuple(reader.findings),
    )


@dataclass
class _Image:
    """One image record while its boxes are being gathered; ``reason`` is why it was refused."""

    name: str | None
    size: tuple[int, int] | None
    reason: str = ""
    boxes: list[tuple[float, ...]] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    refused_boxes: int = 0


class _Reader:
    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.locator = Locator(listing)
        self.names: dict[str, int] = {}
        self.records: list[_Image] = []
        self.taken: dict[str, str] = {}
        self.findings: list[Finding] = []
        self.images_found = 0
        self.boxes_found = 0

    def read(self, file: str, content: dict[str, Any]) -> None:
        categories = self._categories(file, content["categories"])
        by_id: dict[Any, _Image] = {}
        start = len(self.records)
        for i, value in enumerate(content["images"]):
            self._image(file, i, value, by_id)
        seen: dict[Any, str] = {}
        for i, value in enumerate(content["annotations"]):
            self._annotation(file, i, value, by_id, categories, seen)
        for record in self.records[start:]:
            if record.reason:
                self.findings.append(refuse_image(record.name, record.reason, record.refused_boxes))

    def images(self) -> Iterable[SourceImage]:
        for record in self.records:
            if not record.reason and record.name is not None:
                boxes = np.array(record.boxes, dtype=float).reshape(-1, 5)
                yield SourceImage(record.name, record.size, boxes, tuple(record.places), "pixels")

    def note_strangers(self, strangers: dict[str, str]) -> None:
        for name, reason in strangers.items():
            self._note(f"{printable(name)}: passed over: {reason}")

    def refuse_unlisted(self) -> None:
        for name in self.listing.images:
            if name not in self.taken:
                self.images_found += 1
                self.findings.append(refuse_image(printable(name), "no annotation file lists this image", 0))

    def _note(self, reason: str) -> None:
        self.findings.append(Finding("note", None, None, reason))

    def _categories(self, file: str, values: list[Any]) -> dict[Any, int | str]:
        """Category id → class index, or the reason why boxes of this category are refused."""
        categories: dict[Any, int | str] = {}
        named: dict[Any, str] = {}
        for i, value in enumerate(values):
            key = _key(value.get("id")) if isinstance(value, dict) else None
            name = value.get("name") if isinstance(value, dict) else None
            if key is None or not is_text(name) or not name.strip():
                self._note(f"category {i} of {file}: needs an id and a name, got {short(value)}")
            elif named.get(key, name) != name:
                categories[key] = f"category id {short(key)} means both {short(named[key])} and {short(name)}"
                self._note(f"{file}: {categories[key]}")
            elif key not in categories:
                named[key] = name
                categories[key] = self.names.setdefault(name, len(self.names))
        return categories

    def _image(self, file: str, i: int, value: Any, by_id: dict[Any, _Image]) -> None:
        self.images_found += 1
        place = f"image {i} of {file}"
        record = _Image(None, None)
        self.records.append(record)
        if not isinstance(value, dict):
            record.reason = f"{place}: must be an object, got {short(value)}"
            return
        record.reason = self._resolve(record, place, file, value)
        key = _key(value.get("id"))
        if key is None:
            record.reason = f"{place}: needs a whole number or text as id, got {short(value.get('id'))}"
        elif key in by_id:
            record.reason = f"{place}: the id {short(key)} is taken by an image before it"
        else:
            by_id[key] = record

    def _resolve(self, record: _Image, place: str, file: str, value: dict[str, Any]) -> str:
        """Find the record's file and size; "" or the reason why it is refused."""
        file_name = value.get("file_name")
        if not isinstance(file_name, str) or not is_text(file_name):
            return f"{place}: file_name must be text, got {short(file_name)}"
        record.name = file_name
        path, reason = self.locator.locate(file_name, file)
        if path is None:
            return f"{place}: {reason}"
        record.name = printable(path)
        if path in self.taken:
            return f"{place}: {record.name} is listed a second time, first by {self.taken[path]}"
        self.taken[path] = place
        if not is_text(path):
            return f"{place}: the path must be valid UTF-8, got {record.name!r}"
        size = value.get("width"), value.get("height")
        if size == (None, None):
            return ""
        numbers = [_number(side) or 0.0 for side in size]
        if any(side < 1 or side != int(side) for side in numbers):
            return f"{place}: width and height must be whole numbers from 1, got {short(size[0])} and {short(size[1])}"
        record.size = int(numbers[0]), int(numbers[1])
        return ""

    def _annotation(
        self,
        file: str,
        i: int,
        value: Any,
        by_id: dict[Any, _Image],
        categories: dict[Any, int | str],
        seen: dict[Any, str],
    ) -> None:
        self.boxes_found += 1
        place = f"annotation {i} of {file}"
        if not isinstance(value, dict):
            self.findings.append(refuse_box(None, i, f"{place}: must be an object, got {short(value)}"))
            return
        record = by_id.get(_key(value.get("image_id")))
        if record is None:
            reason = f"{place}: orphan: no image has the id {short(value.get('image_id'))}"
            self.findings.append(refuse_box(None, i, reason))
            return
        if record.reason:
            record.refused_boxes += 1  # told once, by the image's own finding
            return
        box = self._box(value, categories)
        reason = box if isinstance(box, str) else self._repeated(value, place, seen)
        if isinstance(box, str) or reason:
            self.findings.append(refuse_box(record.name, i, f"{place}: {reason}"))
            return
        record.boxes.append(box)
        record.places.append(i)

    def _repeated(self, value: dict[str, Any], place: str, seen: dict[Any, str]) -> str:
        """An annotation id that comes twice: the same box again is refused, another box is kept with a note."""
        key = _key(value.get("id"))
        if key is None:
            return ""
        content = short((value["image_id"], value["category_id"], value["bbox"]))
        if key not in seen:
            seen[key] = content
            return ""
        if seen[key] == content:
            return f"the id {short(key)} and its box are there already"
        self._note(f"{place}: the id {short(key)} is taken; the box is kept")
        return ""

    @staticmethod
    def _box(value: dict[str, Any], categories: dict[Any, int | str]) -> tuple[float, ...] | str:
        """Class index, left, top, right, bottom; or the reason why the box is refused."""
        label = categories.get(_key(value.get("category_id")))
        if not isinstance(label, int):
            return label or f"unknown category id {short(value.get('category_id'))}"
        if value.get("iscrowd") not in (None, 0):
            return "iscrowd: the box marks a crowd, not one object"
        bbox = value.get("bbox")
        if not isinstance(bbox, list) or len(bbox) != 4:
            return f"bbox must be [x, y, width, height], got {short(bbox)}"
        numbers = [_number(item) for item in bbox]
        left, top, width, height = (math.nan if number is None else number for number in numbers)
        if None in numbers:
            return f"bbox must hold finite numbers within ±{LIMIT:.0e}, got {short(bbox)}"
        if width <= 0:
            return f"width must be > 0, got {width:g}"
        if height <= 0:
            return f"height must be > 0, got {height:g}"
        return label, left, top, left + width, top + height


def _parse(path: Path) -> tuple[Any, str]:
    if not path.is_file():  # a pipe or a device would be read for ever
        return None, "not a regular file"
    try:
        return json.loads(path.read_bytes()), ""
    except RecursionError:
        return None, "not usable JSON: nested too deep"
    except (ValueError, OSError, MemoryError) as error:
        return None, f"not valid JSON: {printable(' '.join(str(error).split()))[:200]}"


def _key(value: Any) -> Any:
    """``value`` if it can be an id (whole number or text), else None."""
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    return int(value) if isinstance(value, float) and math.isfinite(value) and value == int(value) else None


def _number(value: Any) -> float | None:
    """``value`` as a float if it is a finite number of a size that a coordinate can have, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -LIMIT <= value <= LIMIT:
        return None
    return float(value)

"""The list ``annotations`` of one COCO file: the boxes, and why others are refused.

Elements with numbers where numbers belong, as nearly all are, are read column by column, every other one by itself.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np

from hakka.boxes import Array
from hakka.data.findings import Finding, refuse_box
from hakka.data.formats.coco_images import Images
from hakka.data.formats.coco_table import Alike, Table, tabulate
from hakka.data.formats.coco_values import Key, id_key
from hakka.data.formats.json_text import Repeated
from hakka.data.formats.rle import segmentation_bounds
from hakka.data.formats.shapes import LIMIT, number
from hakka.texts import short

MOST_FINDINGS = 100_000  # boxes of one file that are told one by one
_SPARSEST = 4  # numbers from the first key to the last, for each key, that a table is made for


@dataclass(frozen=True)
class Columns:
    """Boxes in the order of the file.

    ``rows`` (n,) are rows of images, ``boxes`` (n, 5) class index, left, top, right, bottom in pixels, ``places`` (n,)
    where they stand in the list, ``ids`` (n,) their ids as 64 bits, ``named`` (n,) whether they have an id.
    """

    rows: Array
    boxes: Array
    places: Array
    ids: Array
    named: Array

    def take(self, index: Array) -> "Columns":
        """The boxes at ``index``, a mask or places."""
        return Columns(*(column[index] for column in vars(self).values()))


class Boxes:
    """``classes`` gives the class index of a category id, or the reason why its boxes are refused."""

    def __init__(self, file: str, images: Images, classes: Mapping[Key, int | str]) -> None:
        self.file = file
        self.found = 0
        self.outlines = 0
        self._images = images
        self._classes = classes
        self._columns = _Growing()
        self._findings: list[tuple[int, Finding]] = []
        self._untold: list[tuple[int, str]] = []
        self._untold_boxes = 0

    def add(self, piece: Alike | list[Any]) -> None:
        """The next elements of the list."""
        start = self.found
        self.found += len(piece)
        table = piece.table if isinstance(piece, Alike) else tabulate(piece)
        good, columns = self._read_table(table, start)
        self._columns.add(columns)
        odd = np.ones(len(piece), dtype=bool)
        odd[table.places[good]] = False
        if odd.any():
            values = piece.parse() if isinstance(piece, Alike) else piece
            rows = [row for i in np.flatnonzero(odd).tolist() for row in self._read_odd(start + i, values[i])]
            self._columns.add(_to_columns(*zip(*rows, strict=True)) if rows else _to_columns())

    def finish(self) -> Columns:
        """All boxes, ordered by image, then by place; those that are there twice are refused."""
        columns = self._columns.take_all()
        if len(columns.places) and (np.diff(columns.places) < 0).any():
            columns = columns.take(np.argsort(columns.places, kind="stable"))
        columns = self._drop_repeated(columns)
        if (np.diff(columns.rows) < 0).any():
            columns = columns.take(np.argsort(columns.rows, kind="stable"))
        return columns

    def findings(self) -> Iterable[Finding]:
        """What was refused, in the order of the file."""
        yield from (finding for _, finding in sorted(self._findings, key=lambda pair: pair[0]))
        if self._untold:
            place, reason = self._untold[0]
            more = f" (and {self._untold_boxes - 1} more boxes that are refused are not told one by one)"
            yield Finding("refused", None, place, reason + more, boxes=self._untold_boxes)

    def _read_table(self, table: Table, start: int) -> tuple[Array, Columns]:
        """Which elements of the table are good boxes, as a mask, and these boxes."""
        rows, labels = self._rows.find(table.images), self._labels.find(table.categories)
        good = (rows >= 0) & (labels >= 0) & ~table.crowds
        good &= (np.abs(table.boxes) <= LIMIT).all(axis=1) & (table.boxes[:, 2:] > 0).all(axis=1)
        if self._images.reasons:
            refused = np.zeros(len(self._images.paths) + 1, dtype=bool)
            refused[list(self._images.reasons)] = True
            good &= ~refused[rows]
        corners = table.boxes + 0.0  # a zero has no sign
        corners[:, 2:] += corners[:, :2]
        boxes = np.concatenate([labels[:, None], corners], axis=1)
        columns = Columns(rows, boxes, table.places + start, table.ids, table.named)
        return good, columns if good.all() else columns.take(good)

    @cached_property
    def _rows(self) -> "_Lookup":
        return _Lookup(self._images.rows)

    @cached_property
    def _labels(self) -> "_Lookup":
        return _Lookup(self._classes)

    def _read_odd(self, place: int, value: Any) -> Iterator[tuple[Any, ...]]:
        """Row, box, place, id and whether it has one; nothing if it is refused."""
        if not isinstance(value, dict):
            self._refuse(None, place, f"must be an object, got {short(value)}")
            return
        key = id_key(value.get("image_id"))
        row = self._images.rows.get(key) if key is not None else None
        if row is None:
            self._refuse(None, place, f"orphan: no image has the id {short(value.get('image_id'))}")
        elif row in self._images.reasons:
            self._images.refused_boxes[row] += 1  # told once, by the image's own finding
        elif isinstance(box := self._box(value, row), str):
            self._refuse(self._images.name(row), place, box)
        else:
            key = id_key(value.get("id"))
            yield row, box, place, 0 if key is None else _to_word(key), key is not None

    def _box(self, value: dict[str, Any], row: int) -> tuple[float, ...] | str:
        """Class index, left, top, right, bottom; or the reason why the box is refused."""
        if isinstance(value, Repeated) and value.differ:
            return str(value)
        category = id_key(value.get("category_id"))
        label = self._classes.get(category) if category is not None else None
        if not isinstance(label, int):
            return label or f"unknown category id {short(value.get('category_id'))}"
        if value.get("iscrowd") not in (None, 0):
            return "iscrowd: the box marks a crowd, not one object"
        bbox, outline = value.get("bbox"), value.get("segmentation")
        outlined = bbox in (None, []) and outline not in (None, [])
        corners = self._outline(outline, row) if outlined else _corners(bbox)
        return corners if isinstance(corners, str) else (label, *corners)

    def _outline(self, outline: Any, row: int) -> tuple[float, ...] | str:
        bounds = segmentation_bounds(outline, self._images.sizes[row])
        if isinstance(bounds, str):
            return bounds
        if bounds[2] <= bounds[0] or bounds[3] <= bounds[1]:
            return f"segmentation must have a width and a height > 0, got {short(outline)}"
        self.outlines += 1
        return bounds

    def _refuse(self, image: str | None, place: int, reason: str) -> None:
        reason = f"annotation {place} of {self.file}: {reason}"
        if len(self._findings) < MOST_FINDINGS:
            self._findings.append((place, refuse_box(image, place, reason)))
            return
        self._untold_boxes += 1
        if not self._untold:
            self._untold.append((place, reason))

    def _drop_repeated(self, columns: Columns) -> Columns:
        """Without the boxes whose id was there already with the same box; another box is kept, with a note."""
        named = np.flatnonzero(columns.named)
        ids = columns.ids[named]
        if len(ids) < 2 or (np.diff(ids) > 0).all():
            return columns
        order = np.argsort(ids, kind="stable")
        repeats = order[1:][ids[order][1:] == ids[order][:-1]]
        first: dict[int, int] = {}
        for i in named[order[np.isin(ids[order], ids[repeats])]].tolist():
            first.setdefault(int(columns.ids[i]), i)
        kept = np.ones(len(columns.places), dtype=bool)
        for i in np.sort(named[repeats]).tolist():
            kept[i] = self._is_another(columns, first[int(columns.ids[i])], i)
        return columns if kept.all() else columns.take(kept)

    def _is_another(self, columns: Columns, first: int, i: int) -> bool:
        place, before = int(columns.places[i]), int(columns.places[first])
        if columns.rows[i] == columns.rows[first] and (columns.boxes[i] == columns.boxes[first]).all():
            image = self._images.name(int(columns.rows[i]))
            self._refuse(image, place, f"its id and its box are there already, in annotation {before}")
            return False
        if len(self._findings) < MOST_FINDINGS:
            note = f"annotation {place} of {self.file}: annotation {before} has its id already; the box is kept"
            self._findings.append((place, Finding("note", None, None, note)))
        return True


class _Lookup:
    """The whole numbers that whole numbers stand for, for many at once."""

    def __init__(self, numbers: Mapping[Key, int | str]) -> None:
        whole = {key: value for key, value in numbers.items() if isinstance(key, int) and isinstance(value, int)}
        keys = np.array([*whole] or [0], dtype=np.int64)
        values = np.array([*whole.values()] or [-1], dtype=np.int32)
        order = np.argsort(keys)
        self._keys, self._values = keys[order], values[order]
        self._first, last = int(self._keys[0]), int(self._keys[-1])
        self._dense: Array | None = None  # the value of each number from the first key on, and -1 behind the last one
        if last - self._first < _SPARSEST * len(self._keys):
            self._dense = np.full(last - self._first + 2, -1, dtype=np.int32)
            self._dense[self._keys - self._first] = self._values

    def find(self, keys: Array) -> Array:
        """(n,) of what (n,) keys stand for, -1 for one that stands for nothing."""
        if self._dense is not None:
            last = len(self._dense) - 1
            return self._dense[np.where((keys >= self._first) & (keys < self._first + last), keys - self._first, last)]
        places = np.searchsorted(self._keys[1:], keys, side="right")
        found: Array = np.where(self._keys[places] == keys, self._values[places], -1)
        return found


def _corners(bbox: Any) -> tuple[float, ...] | str:
    if not isinstance(bbox, list) or len(bbox) != 4:
        return f"bbox must be [x, y, width, height], got {short(bbox)}"
    numbers = [side for item in bbox if (side := number(item)) is not None]
    if len(numbers) < 4:
        return f"bbox must hold finite numbers within ±{LIMIT:.0e}, got {short(bbox)}"
    left, top, width, height = (side + 0.0 for side in numbers)  # a zero has no sign
    if width <= 0:
        return f"width must be > 0, got {width:g}"
    if height <= 0:
        return f"height must be > 0, got {height:g}"
    return left, top, left + width, top + height


def _to_word(key: Key) -> int:
    """An id as 64 bits: itself, or the digest of a text."""
    if isinstance(key, int):
        return key
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), signed=True)


def _to_columns(
    rows: Sequence[int] = (),
    boxes: Sequence[Sequence[float]] = (),
    places: Sequence[int] = (),
    ids: Sequence[int] = (),
    named: Sequence[bool] = (),
) -> Columns:
    return Columns(
        np.array(rows, dtype=np.int32),
        np.array(boxes, dtype=float).reshape(-1, 5),
        np.array(places, dtype=np.int64),
        np.array(ids, dtype=np.int64),
        np.array(named, dtype=bool),
    )


class _Growing:
    """Columns to which others are added in their place: memory never holds them twice."""

    def __init__(self) -> None:
        self._columns = _no_columns()

    def add(self, columns: Columns) -> None:
        start = len(self._columns.rows)
        for column, more in zip(vars(self._columns).values(), vars(columns).values(), strict=True):
            column.resize((start + len(more), *column.shape[1:]), refcheck=False)
            column[start:] = more

    def take_all(self) -> Columns:
        """What was added; nothing stays behind."""
        columns, self._columns = self._columns, _no_columns()
        return columns


def _no_columns() -> Columns:
    return Columns(
        np.empty(0, np.int32), np.empty((0, 5)), np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, bool)
    )

"""The list ``images`` of one COCO file: which file each one means, its size, and why it is refused."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hakka.data.findings import Finding, refuse_image
from hakka.data.formats.coco_values import Key, id_key, read_size
from hakka.data.formats.json_text import Repeated
from hakka.data.formats.locate import Locator, source_split
from hakka.data.formats.naming import ImageFinder
from hakka.data.formats.shapes import LIMIT
from hakka.texts import is_text, printable, short

_KEYS = ("id", "file_name", "width", "height")


class Taken:
    """Which image files are listed already, and where: ``places`` counts the rows of all annotation files."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self._files: list[str] = []

    def begin(self, file: str) -> int:
        """The place of the first row of the next file."""
        self._files.append(file)
        return (len(self._files) - 1) * 2**32

    def take(self, paths: Sequence[str], place: int) -> bool:
        """List paths that stand behind each other from a place on; False if one is there already."""
        more = dict(zip(paths, range(place, place + len(paths)), strict=True))
        if len(more) < len(paths) or not more.keys().isdisjoint(self.places):
            return False
        self.places |= more
        return True

    def owner(self, path: str) -> str:
        """The element that listed a path, in words."""
        number, row = divmod(self.places[path], 2**32)
        return _place(row, self._files[number])


class Images:
    """One row for each element: ``paths`` (None without a file), ``sizes``, and ``reasons`` by row for the refused.

    ``rows`` finds the row of an id. ``taken`` is shared by all files of a source. ``lost`` are, by row, the elements
    whose file is not where they say. ``refused_boxes`` counts by row what was refused together with its image.
    """

    def __init__(self, file: str, locator: Locator, taken: Taken) -> None:
        self.file = file
        self.paths: list[str | None] = []
        self.sizes: list[tuple[int, int] | None] = []
        self.reasons: dict[int, str] = {}
        self.rows: dict[Key, int] = {}
        self.lost: dict[int, dict[str, Any]] = {}
        self.refused_boxes: Counter[int] = Counter()
        self._locator = locator
        self._taken = taken
        self._first = taken.begin(file)
        self._names: dict[int, str] = {}  # of refused rows: what the file calls them
        self._same_size: dict[tuple[int, int], tuple[int, int]] = {}  # one object for a size that comes often

    def add(self, values: Sequence[Any]) -> None:
        """The next elements of the list."""
        if self._add_plain(values):
            return
        for value in values:
            row = len(self.paths)
            self.paths.append(None)
            self.sizes.append(None)
            reason = self._read(row, value)
            if reason:
                self.reasons[row] = f"{_place(row, self.file)}{reason}"

    def look_elsewhere(self, finder: ImageFinder) -> dict[int, str]:
        """By row the images that have the names of lost elements, and that no element means as it is written.

        To be called when the images of all files of the source have been read.
        """
        found = ((row, finder.find_elsewhere(value["file_name"], self.file)) for row, value in self.lost.items())
        return {row: path for row, path in found if path is not None and path not in self._taken.places}

    def take_elsewhere(self, found: Mapping[int, str]) -> list[str]:
        """Give lost elements images of ``look_elsewhere``, if nobody has them by now; gives the elements' places."""
        taken = []
        for row, path in found.items():
            if path not in self._taken.places:
                place = _place(row, self.file)
                self.reasons[row] = place + self._take(row, path, self.lost[row])
                if self.reasons[row] == place:
                    del self.reasons[row]
                    taken.append(place)
        return taken

    def name(self, row: int) -> str | None:
        """The path of an image, or what the file calls it."""
        return self.paths[row] or self._names.get(row)

    def kept(self) -> Iterator[tuple[int, str, tuple[int, int] | None, str | None]]:
        """Row, path, size and split of the images that are not refused."""
        of_file = source_split(self.file)
        of_folder: dict[str, str | None] = {}
        for row, (path, size) in enumerate(zip(self.paths, self.sizes, strict=True)):
            if path is None or row in self.reasons:
                continue
            folder = path[: path.rfind("/") + 1]
            if folder not in of_folder:
                of_folder[folder] = of_file or source_split(folder)
            yield row, path, size, of_folder[folder]

    def findings(self) -> Iterator[Finding]:
        """A refusal for each image that is refused, with its boxes."""
        for row in sorted(self.reasons):
            yield refuse_image(self.name(row), self.reasons[row], self.refused_boxes[row])

    def _add_plain(self, values: Sequence[Any]) -> bool:
        """Add elements of which nothing is to be said but which file they mean, if all are such."""
        if set(map(type, values)) != {dict}:
            return False
        ids, names, widths, heights = ([value.get(key) for value in values] for key in _KEYS)
        if set(map(type, ids)) != {int} or set(map(type, names)) != {str} or not _are_sizes(widths, heights):
            return False
        paths = self._locator.locate_all(names, self.file)
        rows = dict(zip(ids, range(len(self.paths), len(self.paths) + len(ids)), strict=True))
        if paths is None or len(rows) < len(ids) or not rows.keys().isdisjoint(self.rows):
            return False
        if not (min(ids) >= -(2**63) and max(ids) < 2**63 and self._taken.take(paths, self._first + len(self.paths))):
            return False
        self.rows |= rows
        self.paths += paths
        self.sizes += [self._same_size.setdefault(size, size) for size in zip(widths, heights, strict=True)]
        return True

    def _read(self, row: int, value: Any) -> str:
        """Fill the row; "" or the reason why it is refused, beginning with a separator."""
        if not isinstance(value, dict):
            return f": must be an object, got {short(value)}"
        repeated = value.key if isinstance(value, Repeated) and value.differ else None
        reason = self._resolve(row, value) if repeated != "file_name" else ""
        other = self._register(row, value) or ("" if repeated is None else f": {value}")
        if other:
            self.lost.pop(row, None)
        return other or reason

    def _register(self, row: int, value: dict[str, Any]) -> str:
        """Note the row under its id; "" or the reason why not."""
        key = id_key(value.get("id"))
        if key is None:
            return f": needs a whole number or text as id, got {short(value.get('id'))}"
        if key in self.rows:
            return f": the id {short(key)} is taken by an image before it"
        self.rows[key] = row
        return ""

    def _resolve(self, row: int, value: dict[str, Any]) -> str:
        file_name = value.get("file_name")
        if not (type(file_name) is str and file_name.isascii()) and not is_text(file_name):
            return f": file_name must be text, got {short(file_name)}"
        path, reason = self._locator.locate(file_name, self.file)
        if path is None:
            self._names[row] = file_name
            self.lost[row] = value
            return f": {reason}"
        if path in self._taken.places:
            self._names[row] = printable(path)
            return f": {printable(path)} is listed a second time, first by {self._taken.owner(path)}"
        return self._take(row, path, value)

    def _take(self, row: int, path: str, value: dict[str, Any]) -> str:
        """Give the row its file and its size; "" or the reason why that cannot be."""
        self._taken.places[path] = self._first + row
        if not path.isascii() and not is_text(path):
            self._names[row] = printable(path)
            return f": the path must be valid UTF-8, got {printable(path)!r}"
        self.paths[row] = path
        width, height = value.get("width"), value.get("height")
        if width is None and height is None:
            return ""
        if type(width) is int and type(height) is int and 0 < width < LIMIT and 0 < height < LIMIT:
            size: tuple[int, int] | None = (width, height)
        else:
            size = read_size(width, height)
        if size is None:
            return f": width and height must be whole numbers from 1, got {short(width)} and {short(height)}"
        self.sizes[row] = self._same_size.setdefault(size, size)
        return ""


def _are_sizes(widths: Sequence[Any], heights: Sequence[Any]) -> bool:
    """Whether all are whole numbers of pixels."""
    return {*map(type, widths), *map(type, heights)} == {int} and all(
        min(sides) > 0 and max(sides) < LIMIT for sides in (widths, heights)
    )


def _place(row: int, file: str) -> str:
    return f"image {row} of {file}"

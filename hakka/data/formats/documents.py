"""The JSON files of a source that are not COCO: parsed once, each asked of every format what it is."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from hakka.data.formats.labelme import count_labelme, is_labelme
from hakka.data.formats.labelstudio import count_labelstudio, is_labelstudio
from hakka.data.formats.reading import LARGEST_JSON, MIB, parse_json, read_file
from hakka.data.formats.via import count_via, is_via
from hakka.data.listing import Listing

_KEPT = 48 * MIB  # bytes of JSON that stay in memory between looking and reading
_KINDS: dict[str, tuple[Callable[[Any], bool], Callable[[Any], int]]] = {
    "labelme": (is_labelme, count_labelme),
    "via": (is_via, count_via),
    "labelstudio": (is_labelstudio, count_labelstudio),
}


class Documents:
    """``files`` are the names by format, ``images`` how many each format lists, ``strangers`` why a file is none."""

    def __init__(self, listing: Listing, names: Iterable[str]) -> None:
        self._listing = listing
        self._kept: dict[str, Any] = {}
        self._room = _KEPT
        self.files: dict[str, list[str]] = {kind: [] for kind in _KINDS}
        self.images = dict.fromkeys(_KINDS, 0)
        self.strangers: dict[str, str] = {}
        for name in names:
            self._look(name)

    def read(self, kind: str) -> Iterator[tuple[str, Any]]:
        """Name and content of the files of one format."""
        for name in self.files[kind]:
            value = self._kept.pop(name) if name in self._kept else self._load(name)[0]
            if kind_of(value) == kind:  # a file may have been replaced since it was looked at
                yield name, value

    def _look(self, name: str) -> None:
        value, size, reason = self._load(name)
        kind = kind_of(value)
        if kind is None:
            self.strangers[name] = reason or "not LabelMe, VIA or Label Studio JSON"
            return
        self.files[kind].append(name)
        self.images[kind] += _KINDS[kind][1](value)
        if size <= self._room:
            self._room -= size
            self._kept[name] = value

    def _load(self, name: str) -> tuple[Any, int, str]:
        """The value, the bytes of JSON text in it without an embedded image, and the reason if there is no value."""
        data, reason = read_file(self._listing.source, name, LARGEST_JSON)
        if reason:
            return None, 0, reason
        value, reason = parse_json(data)
        size = len(data)
        if isinstance(value, dict) and isinstance(value.get("imageData"), str):  # LabelMe puts the whole photo there
            size -= len(value["imageData"])
            value["imageData"] = None
        return value, size, reason


def kind_of(value: Any) -> str | None:
    """The format of a JSON value, None if it is none of them."""
    return next((kind for kind, (is_kind, _) in _KINDS.items() if is_kind(value)), None)

"""``data.yaml`` of a YOLO dataset: the class names and which images are in which split."""

import posixpath
from collections import defaultdict
from typing import Any

import yaml

from hakka.data.formats.locate import folder_split
from hakka.data.formats.naming import ImageFinder
from hakka.data.formats.reading import MIB, read_file
from hakka.data.listing import Listing
from hakka.errors import InvalidInput
from hakka.strict_yaml import load_yaml
from hakka.texts import is_text, short

LARGEST = MIB // 8  # bytes of data.yaml
MOST_BRACKETS = 64  # the YAML scanner's time grows with their number times the file's length
LARGEST_LIST = 64 * MIB  # bytes of a list of images
_MERGE = "tag:yaml.org,2002:merge"
_KEYS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


class Splits:
    """The split of each image: by the lists and folders that ``data.yaml`` names, else by its own path.

    A folder or list that two splits name says nothing.
    """

    def __init__(self, listing: Listing, data_yaml: str, content: dict[str, Any]) -> None:
        self._files = frozenset(listing.files)
        self._folders = {folder for image in listing.images for folder in _parents(image)}
        self._finder = ImageFinder(listing)
        self._listing = listing
        self._named: defaultdict[str, set[str]] = defaultdict(set)  # image or folder → splits
        base = content.get("path")
        for key, split in _KEYS.items():
            value = content.get(key)
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, str) and item.strip():
                    self._add(posixpath.dirname(data_yaml), base if isinstance(base, str) else "", item, split)

    def of(self, image: str) -> str | None:
        """train, val or test, None where the source says nothing."""
        for place in (image, *_parents(image)):
            if place in self._named:
                splits = self._named[place]
                return next(iter(splits)) if len(splits) == 1 else None
        return folder_split(image)

    def _add(self, here: str, base: str, item: str, split: str) -> None:
        """Tools write the path from ``path``, from the file, from another machine's root or from one folder deeper."""
        base, item = base.replace("\\", "/"), item.replace("\\", "/").strip()
        parts = [part for part in item.split("/") if part not in ("", ".", "..")]
        candidates = [posixpath.join(here, base, item), posixpath.join(here, item)]
        candidates += [posixpath.join(here, *parts[i:]) for i in range(len(parts))]
        for name in map(posixpath.normpath, candidates):
            if name in self._folders or name == ".":
                self._named["" if name == "." else name].add(split)
                return
            if name in self._files:
                self._read_list(name, split)
                return

    def _read_list(self, name: str, split: str) -> None:
        data, _ = read_file(self._listing.source, name, LARGEST_LIST)
        for line in data.decode("utf-8-sig", "replace").splitlines():
            path, _ = self._finder.find([line.strip()], name, one_image=False)
            if path is not None:
                self._named[path].add(split)


def read_data_yaml(listing: Listing, name: str) -> tuple[tuple[str, ...], Splits]:
    """The class names and the splits.

    Raises:
        InvalidInput: the file is no YAML or holds no class names.
    """
    path = listing.source / name
    data, reason = read_file(listing.source, name, LARGEST)
    if reason:
        raise InvalidInput(f"{path}: {reason}")
    if data.count(b"[") + data.count(b"{") > MOST_BRACKETS:
        raise InvalidInput(f"{path}: not usable YAML: more than {MOST_BRACKETS} brackets")
    try:
        content = load_yaml(data, _Loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError, TypeError) as error:
        raise InvalidInput(f"{path}: not valid YAML: {' '.join(str(error).split())[:200]}") from None
    names: Any = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and sorted(names, key=str) == sorted(range(len(names)), key=str):
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list) or not names or not all(is_text(name) and name.strip() for name in names):
        raise InvalidInput(
            f"{path}: names must be a list of class names, or a mapping 0, 1, … to them, got {short(names)}"
        )
    if isinstance(content.get("nc"), int) and content["nc"] != len(names):
        raise InvalidInput(f"{path}: nc must be the number of names, which are {len(names)}, got {content['nc']}")
    if len(set(names)) < len(names):
        raise InvalidInput(f"{path}: every class name may come once, got {short(sorted(names))}")
    return tuple(names), Splits(listing, name, content)


class _Loader(yaml.SafeLoader):
    """YAML without merge keys (``<<``): a few lines of them grow without end."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """See SafeLoader."""
        if any(key.tag == _MERGE for key, _ in node.value):
            raise yaml.YAMLError("merge keys (<<) are not allowed here")
        super().flatten_mapping(node)


def _parents(image: str) -> list[str]:
    """The folders of an image, from its own to the source ("")."""
    parts = image.split("/")[:-1]
    return ["/".join(parts[:i]) for i in range(len(parts), -1, -1)]

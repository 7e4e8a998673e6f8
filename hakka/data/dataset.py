"""A converted dataset: a folder of labels and an index. The pixels stay in the source folder (the root)."""

import hashlib
import json
import math
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson
import yaml

from hakka.boxes import Array
from hakka.data.files_out import write_files
from hakka.data.labels import label_texts
from hakka.data.split import SPLITS
from hakka.errors import HakkaError, InvalidInput, NotFound, Tampered
from hakka.files import canonical_json, link_file, read_json, restore_folder, sha256_file, whole_folder
from hakka.texts import is_text, short

FORMAT = 1
ROOT_FILE = "root.json"
DIGEST = re.compile(r"[0-9a-f]{64}")
FILES = frozenset({"dataset.json", "index.jsonl", "labels", "report.json", "report.html", ROOT_FILE})
_KINDS = ((b"\xff\xd8\xff", ".jpg"), (b"\x89PNG\r\n\x1a\n", ".png"), (b"RIFF", ".webp"))


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """One image of a dataset: a line of ``index.jsonl``.

    ``image`` is the POSIX path relative to the root, ``stem`` the unique name of its label file, ``width`` and
    ``height`` are pixels after EXIF orientation, ``boxes`` their number, ``group`` the scene that the image belongs to.
    """

    image: str
    stem: str
    sha256: str
    bytes: int
    width: int
    height: int
    split: str
    boxes: int
    group: str


_FIELDS: dict[str, Any] = {field.name: field.type for field in fields(ImageEntry)}


@dataclass(frozen=True)
class Dataset:
    """A dataset that was read. ``digest`` names its content: index, labels and class names."""

    path: Path
    names: tuple[str, ...]
    entries: tuple[ImageEntry, ...]
    digest: str

    @cached_property
    def _by_split(self) -> dict[str, tuple[ImageEntry, ...]]:
        return {split: tuple(entry for entry in self.entries if entry.split == split) for split in SPLITS}

    def split(self, name: str) -> tuple[ImageEntry, ...]:
        """The entries of train, val or test, in the order of the index."""
        if name not in SPLITS:
            raise InvalidInput(f"split must be one of {', '.join(SPLITS)}, got {name!r}")
        return self._by_split[name]

    @property
    def root(self) -> Path:
        """The folder that the images lie in, as ``write_root`` noted it.

        Raises:
            InvalidInput: the dataset does not know it, or it is not there any more.
        """
        note = self.path / ROOT_FILE
        value = read_json(note) if note.is_file() else None
        root = Path(os.path.normpath(self.path.resolve() / value)) if isinstance(value, str) else None
        if root is None or not root.is_dir():
            found = f"it noted {short(str(root))}, which is no folder" if root is not None else "it has no note of it"
            raise InvalidInput(f"{self.path}: the dataset must know the folder of its images (or give it): {found}")
        return root

    def label_file(self, entry: ImageEntry) -> Path:
        """Where the labels of an image lie."""
        return self.path / f"labels/{entry.split}/{entry.stem}.txt"

    def labels(self, entry: ImageEntry) -> Array:
        """(n, 5) class, cx, cy, w, h of an image; the last four are shares (0–1) of its sides.

        Raises:
            InvalidInput: the label file is missing, or a line is not five finite numbers.
        """
        path = self.label_file(entry)
        try:
            lines = path.read_text().split("\n")
        except FileNotFoundError:
            raise InvalidInput(f"{path}: no such label file") from None
        except UnicodeDecodeError:
            raise InvalidInput(f"{path}: a label file must be UTF-8 text") from None
        rows = [_read_line(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
        return np.array(rows, dtype=float).reshape(-1, 5)


def load_dataset(path: Path) -> Dataset:
    """Read ``dataset.json`` and ``index.jsonl`` of a dataset folder.

    Raises:
        InvalidInput: the folder is no dataset, or its format is one that this version does not know.
    """
    path = Path(path)
    about = read_about(path)
    return Dataset(path, tuple(about["names"]), read_index(path), about["digest"])


def read_about(path: Path) -> dict[str, Any]:
    """The content of a dataset's ``dataset.json``, with class names that are text and a digest that is one.

    A dataset that is missing only because the process that was replacing it was killed is brought back first.

    Raises:
        InvalidInput: the folder is no dataset, or its format is one that this version does not know.
    """
    place = Path(os.path.realpath(path))  # where the process left the old one, whatever links lead there
    if not place.exists() and restore_folder(place):
        print(f"{path}: is back as it was: what was replacing it had been killed", file=sys.stderr)
    file = path / "dataset.json"
    if not file.is_file():
        raise InvalidInput(f"{path}: not a dataset: it has no dataset.json (hakka convert makes one)")
    about = read_json(file)
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        found = about.get("format") if isinstance(about, dict) else about
        raise InvalidInput(f"{file}: format must be {FORMAT}, got {short(found)}")
    names, digest = about.get("names"), about.get("digest")
    if not isinstance(names, list) or not all(map(is_text, names)):
        raise InvalidInput(f"{file}: needs a list of names, got {short(names)}")
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise InvalidInput(f"{file}: digest must be 64 hex digits, got {short(digest)}")
    return about


def read_index(path: Path) -> tuple[ImageEntry, ...]:
    """The entries of a dataset folder.

    Raises:
        InvalidInput: ``index.jsonl`` is missing, or a line is not an entry.
    """
    index = path / "index.jsonl"
    if not index.is_file():
        raise InvalidInput(f"{index}: no such file")
    lines = index.read_bytes().split(b"\n")
    return tuple(_read_entry(index, number, line) for number, line in enumerate(lines, 1) if line.strip())


def write_dataset(
    folder: Path,
    names: Sequence[str],
    entries: Sequence[ImageEntry],
    boxes: Array,
    starts: Sequence[int],
    about: Mapping[str, Any],
) -> None:
    """Write labels, index and ``dataset.json`` into ``folder``; the same content gives the same bytes.

    ``entries`` are sorted by image. The boxes of entry ``i`` are ``boxes[starts[i]:starts[i + 1]]``, (n, 5) class, cx,
    cy, w, h. ``about`` is put into ``dataset.json`` beside the counts, the digest of the content and that of the index.
    """
    for split in SPLITS:
        (folder / "labels" / split).mkdir(parents=True)
    digest = _start_digest(names)
    with (folder / "index.jsonl").open("wb") as index:
        write_files(folder / "labels", _written(entries, label_texts(boxes, starts), index, digest))
    counts = {
        what: {split: sum(count(entry) for entry in entries if entry.split == split) for split in SPLITS}
        for what, count in (("images", lambda _: 1), ("boxes", lambda entry: entry.boxes))
    }
    content = {
        "format": FORMAT,
        "names": list(names),
        "classes": len(names),
        **counts,
        "digest": digest.hexdigest(),
        "index_sha256": sha256_file(folder / "index.jsonl"),
        **about,
    }
    (folder / "dataset.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", newline="\n")


def _written(
    entries: Iterable[ImageEntry], texts: Iterable[bytes], index: BinaryIO, digest: "hashlib._Hash"
) -> Iterator[tuple[str, bytes]]:
    """Name and content of each label file; on the way its entry goes to the index, and both to the digest."""
    for entry, text in zip(entries, texts, strict=True):
        line = orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)
        index.write(line)
        digest.update(_summed(line, text))
        yield f"{entry.split}/{entry.stem}.txt", text


def is_dataset_folder(folder: Path) -> bool:
    """Whether a folder holds a dataset, and nothing but what ``convert`` writes: it may be replaced by another."""
    try:
        return {path.name for path in folder.iterdir()} <= FILES and bool(load_dataset(folder).digest)
    except HakkaError:
        return False


def write_root(folder: Path, out: Path, source: Path) -> None:
    """Note in ``folder``, which will be moved to ``out``, how to get from there to the images in ``source``.

    The note is no part of the dataset's content: the digest leaves it out.
    """
    way = os.path.relpath(source.resolve(), out.resolve())
    (folder / ROOT_FILE).write_text(json.dumps(way) + "\n")  # escaped: a path may hold bytes that are no UTF-8


def content_digest(dataset: Dataset) -> str:
    """Hex SHA-256 over class names, index entries and label files, read anew from the disk."""
    digest = _start_digest(dataset.names)
    for entry in dataset.entries:
        path = dataset.label_file(entry)
        text = path.read_bytes() if path.is_file() else None
        digest.update(_summed(orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE), text))
    return digest.hexdigest()


def _summed(line: bytes, text: bytes | None) -> bytes:
    """What goes into the digest for one image; the length tells where its labels end."""
    return b"%bmissing\n" % line if text is None else b"%b%d\n%b" % (line, len(text), text)


def _start_digest(names: Sequence[str]) -> "hashlib._Hash":
    return hashlib.sha256(canonical_json(list(names)))


def materialize(dataset: Dataset, root: Path, out: Path, splits: Sequence[str] = SPLITS) -> Path:
    """Lay a dataset out as ultralytics wants it and return its ``data.yaml``.

    ``out/images/<split>/<stem>.<suffix>`` are hard links to the images in ``root`` (copies across file systems),
    suffixed by what they are; ``out/labels/<split>/<stem>.txt`` are copies. ``data.yaml`` names all three splits; those
    not in ``splits`` are empty folders.

    Raises:
        InvalidInput: ``out`` is a folder of something else.
        NotFound: an image is not in ``root``.
        Tampered: an image has another size in bytes than the index says.
    """
    if out.exists() and any(out.iterdir()) and not (out / "data.yaml").is_file():
        raise InvalidInput(f"{out}: will not replace a folder that Hakka did not lay out")
    with whole_folder(out) as folder:
        for split in SPLITS:
            (folder / "images" / split).mkdir(parents=True)
            (folder / "labels" / split).mkdir(parents=True)
        for split in splits:
            for entry in dataset.split(split):
                source = _checked_image(root, entry)
                link_file(source, folder / "images" / split / f"{entry.stem}{_suffix(source)}")
                labels = dataset.label_file(entry).read_bytes()
                (folder / "labels" / split / f"{entry.stem}.txt").write_bytes(labels)
        content = {split: f"images/{split}" for split in SPLITS} | {"names": dict(enumerate(dataset.names))}
        (folder / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return out / "data.yaml"


def _checked_image(root: Path, entry: ImageEntry) -> Path:
    path = root / entry.image
    if not path.is_file():
        raise NotFound(f"{path}: the image of the dataset is not in the data folder")
    size = path.stat().st_size
    if size != entry.bytes:
        raise Tampered(f"{path}: must have {entry.bytes} bytes as when it was converted, got {size}")
    return path


def _suffix(path: Path) -> str:
    """The suffix that fits the content; file names lie."""
    with path.open("rb") as file:
        head = file.read(12)
    return next((suffix for magic, suffix in _KINDS if head.startswith(magic)), path.suffix.lower())


def _read_line(path: Path, number: int, line: str) -> list[float]:
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        values = []
    if len(values) != 5 or not all(math.isfinite(value) for value in values):
        raise InvalidInput(f"line {number} of {path}: must be five finite numbers, got {line[:80]!r}")
    return values


def _read_entry(index: Path, number: int, line: bytes) -> ImageEntry:
    try:
        value = orjson.loads(line)
        if not isinstance(value, dict) or value.keys() != _FIELDS.keys():
            raise ValueError(f"must have the fields {', '.join(_FIELDS)}")
        for name, kind in _FIELDS.items():
            if type(value[name]) is not kind:
                raise ValueError(f"{name} must be {kind.__name__}, got {short(value[name])}")
        if value["split"] not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {short(value['split'])}")
        for name in ("image", "stem"):
            if value[name].startswith("/") or ".." in value[name].split("/"):
                raise ValueError(f"{name} must be a relative path without .., got {short(value[name])}")
    except ValueError as error:
        raise InvalidInput(f"line {number} of {index}: {error}") from None
    return ImageEntry(**value)

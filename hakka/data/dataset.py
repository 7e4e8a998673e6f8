"""A converted dataset: a folder of labels and an index. The pixels stay in the source folder (the root)."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hakka.boxes import Array
from hakka.data.split import SPLITS
from hakka.errors import InvalidInput, NotFound, Tampered
from hakka.files import canonical_json, link_file, read_json, sha256_file, whole_folder

FORMAT = 1
_KINDS = ((b"\xff\xd8\xff", ".jpg"), (b"\x89PNG\r\n\x1a\n", ".png"), (b"RIFF", ".webp"))


@dataclass(frozen=True)
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

    def label_file(self, entry: ImageEntry) -> Path:
        """Where the labels of an image lie."""
        return self.path / "labels" / entry.split / f"{entry.stem}.txt"

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
    if not (path / "dataset.json").is_file():
        raise InvalidInput(f"{path}: not a dataset: it has no dataset.json (hakka convert makes one)")
    about = read_json(path / "dataset.json")
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        found = about.get("format") if isinstance(about, dict) else about
        raise InvalidInput(f"{path / 'dataset.json'}: format must be {FORMAT}, got {found!r}")
    names, digest = about.get("names"), about.get("digest")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or not isinstance(digest, str):
        raise InvalidInput(f"{path / 'dataset.json'}: needs a list of names and a digest")
    index = path / "index.jsonl"
    if not index.is_file():
        raise InvalidInput(f"{index}: no such file")
    lines = index.read_bytes().split(b"\n")
    entries = tuple(_read_entry(index, number, line) for number, line in enumerate(lines, 1) if line.strip())
    return Dataset(path, tuple(names), entries, digest)


def write_dataset(
    folder: Path, names: Sequence[str], labelled: Iterable[tuple[ImageEntry, Array]], about: Mapping[str, Any]
) -> tuple[ImageEntry, ...]:
    """Write labels, index and ``dataset.json`` into ``folder``; the boxes are (n, 5) class, cx, cy, w, h.

    ``about`` is put into ``dataset.json`` beside the counts and the digest. The same content gives the same bytes.
    """
    for split in SPLITS:
        (folder / "labels" / split).mkdir(parents=True)
    entries = []
    for entry, boxes in sorted(labelled, key=lambda pair: pair[0].image):
        lines = (f"{int(label)} {x:.8f} {y:.8f} {w:.8f} {h:.8f}\n" for label, x, y, w, h in boxes.tolist())
        (folder / "labels" / entry.split / f"{entry.stem}.txt").write_text("".join(lines), newline="\n")
        entries.append(entry)
    index = "".join(json.dumps(asdict(entry), ensure_ascii=False) + "\n" for entry in entries)
    (folder / "index.jsonl").write_text(index, newline="\n")
    counts = {
        what: {split: sum(count(entry) for entry in entries if entry.split == split) for split in SPLITS}
        for what, count in (("images", lambda _: 1), ("boxes", lambda entry: entry.boxes))
    }
    digest = content_digest(Dataset(folder, tuple(names), tuple(entries), ""))
    content = {"format": FORMAT, "names": list(names), "classes": len(names), **counts, "digest": digest, **about}
    (folder / "dataset.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", newline="\n")
    return tuple(entries)


def content_digest(dataset: Dataset) -> str:
    """Hex SHA-256 over class names, index entries and label files, read anew from the disk."""
    digest = hashlib.sha256(canonical_json(list(dataset.names)))
    for entry in dataset.entries:
        digest.update(canonical_json(asdict(entry)))
        path = dataset.label_file(entry)
        digest.update(sha256_file(path).encode() if path.is_file() else b"missing")
    return digest.hexdigest()


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
        value = json.loads(line)
        known = {field.name: field.type for field in fields(ImageEntry)}
        if not isinstance(value, dict) or value.keys() != known.keys():
            raise ValueError(f"must have the fields {', '.join(known)}")
        for name, kind in known.items():
            if not isinstance(value[name], kind):  # type: ignore[arg-type]
                raise ValueError(f"{name} must be {getattr(kind, '__name__', kind)}, got {value[name]!r}")
        if value["split"] not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {value['split']!r}")
        for name in ("image", "stem"):
            if value[name].startswith("/") or ".." in value[name].split("/"):
                raise ValueError(f"{name} must be a relative path without .., got {value[name]!r}")
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"line {number} of {index}: {error}") from None
    return ImageEntry(**value)

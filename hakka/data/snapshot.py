"""The states of the data that ``diff.compare`` compares: a version of a folder, the folder as it lies, a dataset."""

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from hakka.boxes import cxcywh_to_xyxy
from hakka.data.classes import apply_class_map, find_class_map, read_class_map
from hakka.data.dataset import load_dataset
from hakka.data.diff import Diff, ImageBoxes, Snapshot, compare
from hakka.data.dvc import Cache, find_root, link_object, make_folders
from hakka.data.dvcfile import Record
from hakka.data.fingerprint import ANNOTATION_SUFFIXES
from hakka.data.formats import SourceImage, read_annotations
from hakka.data.listing import IMAGE_SUFFIXES, list_source
from hakka.data.versions import find_record, list_files

WORKSPACE = "workspace"
_MOST_LINKS = 30_000  # of one file; ext4 ends at 65,000
_Inode = tuple[int, int]


def diff_versions(data: Path, before: str, after: str = WORKSPACE) -> Diff:
    """What changed in a tracked data folder between two revisions, or since a revision.

    No photo is opened, and none is fetched: what DVC's cache lacks of the annotation files comes from the remote.

    Raises:
        NotFound, InvalidInput, Unavailable: as ``versions.find_record`` and the annotation readers do.
    """
    cache = Cache(find_root(data))
    record = find_record(data, before)
    files = list_files(data, record, cache)
    old = _read_version(data, before, record, files, cache)
    if after == WORKSPACE:
        return compare(old, _read_workspace(data, _inodes(files, record, cache)))
    record = find_record(data, after)
    return compare(old, _read_version(data, after, record, list_files(data, record, cache), cache))


def diff_datasets(before: Path, after: Path) -> Diff:
    """What changed between two converted datasets.

    Raises:
        InvalidInput: one of the folders is not a dataset, or is broken.
    """
    return compare(_read_dataset(before), _read_dataset(after))


def _read_version(data: Path, revision: str, record: Record, files: Mapping[str, str], cache: Cache) -> Snapshot:
    """A version, by way of a passing folder with its annotation files and an empty file for every other."""
    read = {name: oid for name, oid in files.items() if name.lower().endswith(ANNOTATION_SUFFIXES)}
    cache.bring(read.values(), record, f"{data} at {revision}")
    scratch = find_root(data) / ".dvc" / "tmp"
    scratch.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hakka-", dir=scratch) as name:
        folder = Path(name) / "data"
        make_folders(folder, files)
        for file, oid in read.items():
            link_object(cache.path(oid, record), folder / file)
        _fill_up(folder, [file for file in files if file not in read], Path(name) / "empty")
        return _snapshot(revision, folder, {file: oid for file, oid in files.items() if _is_image(file)})


def _fill_up(folder: Path, names: Sequence[str], empty: Path) -> None:
    """Let the files ``names`` be there, without content: links, which take a tenth of the time of new files."""
    top, source = str(folder), f"{empty}-0"
    for place, name in enumerate(names):
        if place % _MOST_LINKS == 0:
            source = f"{empty}-{place}"
            Path(source).touch()
        os.link(source, f"{top}/{name}")


def _read_workspace(data: Path, known: Mapping[_Inode, str]) -> Snapshot:
    images = list_source(data).images
    return _snapshot(WORKSPACE, data, {name: _digest(data / name, known) for name in images})


def _snapshot(name: str, folder: Path, images: Mapping[str, str]) -> Snapshot:
    class_file = find_class_map(folder)
    class_map = read_class_map(class_file) if class_file else None
    read = read_annotations(folder, attribute=class_map.attribute if class_map else None)
    annotations = apply_class_map(read, class_map)
    boxes = {image.image: _image_boxes(image, annotations.names) for image in annotations.images}
    return Snapshot(
        name,
        images,
        boxes,
        annotations.names,
        refused_images=annotations.images_found - len(annotations.images),
        refused_boxes=annotations.boxes_found - sum(len(image.labels) for image in boxes.values()),
    )


def _image_boxes(image: SourceImage, names: tuple[str, ...]) -> ImageBoxes:
    labels = tuple(names[int(label)] for label in image.boxes[:, 0])
    if image.unit == "pixels" and image.size is not None:
        return ImageBoxes(labels, image.boxes[:, 1:] / [*image.size, *image.size])
    return ImageBoxes(labels, image.boxes[:, 1:], image.unit)


def _read_dataset(path: Path) -> Snapshot:
    dataset = load_dataset(path)
    boxes = {}
    for entry in dataset.entries:
        labels = dataset.labels(entry)
        names = tuple(dataset.names[int(label)] for label in labels[:, 0])
        boxes[entry.image] = ImageBoxes(names, cxcywh_to_xyxy(labels[:, 1:], 1, 1))
    return Snapshot(str(path), {entry.image: entry.sha256 for entry in dataset.entries}, boxes, dataset.names)


def _inodes(files: Mapping[str, str], record: Record, cache: Cache) -> dict[_Inode, str]:
    """Inode → digest of the objects of a version: a file of the folder that is the same inode has the same bytes."""
    known = {}
    for oid in set(files.values()):
        try:
            stat = cache.path(oid, record).stat()
            if cache.is_untouched(oid, record):
                known[stat.st_dev, stat.st_ino] = oid
        except FileNotFoundError:
            continue
    return known


def _digest(path: Path, known: Mapping[_Inode, str]) -> str:
    """The digest by which DVC knows a file's bytes; "" for a link that hangs in the air."""
    try:
        with path.open("rb") as file:
            stat = os.fstat(file.fileno())
            oid = known.get((stat.st_dev, stat.st_ino))
            return oid or hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except FileNotFoundError:
        return ""


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_SUFFIXES

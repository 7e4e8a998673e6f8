"""COCO JSON out: a converted dataset as the file that most tools read, for all images or for each split."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from hakka.boxes import Array, cxcywh_to_xyxy
from hakka.data.dataset import Dataset, ImageEntry, load_dataset
from hakka.data.split import SPLITS
from hakka.errors import InvalidInput, NotFound, Unavailable
from hakka.files import whole_file

_DIGITS = 6  # of a pixel: finer than the eight digits of a share in any image below 100,000 pixels
_HEAD = b'{"info":{"description":"Hakka dataset",'


def export_coco(dataset: Path, root: Path | None, out: Path, *, per_split: bool = False) -> dict[str, Any]:
    """Write a dataset as COCO JSON and return what was written: ``files``, ``images``, ``boxes``, ``classes``.

    ``out`` is a ``.json`` file, or with ``per_split`` a folder that gets ``instances_<split>.json`` for each split.
    Images and boxes are numbered from 1 in the order of the index, across all splits; category ids are class indices
    from 1. ``file_name`` is relative to ``root``, the folder of the photos (by default the one that the dataset was
    converted from); sizes and boxes are pixels of the upright photo (EXIF orientation applied). The same dataset gives
    the same bytes, and converting them the same boxes.

    Raises:
        InvalidInput: ``dataset`` is none, or ``out`` is a file that this function did not write.
        NotFound: a photo of the dataset is not in ``root``.
        Unavailable: ``out`` cannot be written.
    """
    data = load_dataset(dataset)
    numbers = _number_images(data, data.root if root is None else root)
    parts = {out: data.entries}
    if per_split:
        parts = {out / f"instances_{split}.json": data.split(split) for split in SPLITS}
    _check_out(out, per_split, parts)
    try:
        for path, entries in parts.items():
            with whole_file(path) as file:
                file.writelines(_document(data, entries, numbers))
    except OSError as error:
        raise Unavailable(f"{out}: the COCO file cannot be written: {error.strerror or error}") from None
    return {
        "files": [str(path) for path in parts],
        "images": len(data.entries),
        "boxes": sum(entry.boxes for entry in data.entries),
        "classes": len(data.names),
    }


def coco_boxes(shares: Array, width: int, height: int) -> Array:
    """(n, 4) cx, cy, w, h in shares as (n, 4) left, top, width, height in pixels, inside the frame."""
    corners = np.clip(cxcywh_to_xyxy(shares, width, height), 0, [width, height, width, height])
    boxes: Array = np.round(np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1), _DIGITS)
    return boxes


def _number_images(data: Dataset, root: Path) -> dict[str, tuple[int, int]]:
    """Image → its id and the id of its first box, both from 1."""
    numbers = {}
    box = 1
    for image, entry in enumerate(data.entries, 1):
        if not (root / entry.image).is_file():
            raise NotFound(f"{root / entry.image}: the image of the dataset is not in the data folder")
        numbers[entry.image] = (image, box)
        box += entry.boxes
    return numbers


def _check_out(out: Path, per_split: bool, files: Iterable[Path]) -> None:
    if per_split and out.exists() and not out.is_dir():
        raise InvalidInput(f"{out}: with a file for each split this must be a folder, got a file")
    for path in files:
        if path.is_dir() or path.suffix.lower() != ".json":
            raise InvalidInput(f"{path}: the COCO file must end in .json" + (", got a folder" if path.is_dir() else ""))
        if path.exists() and not _is_ours(path):
            raise InvalidInput(f"{path}: will not replace a file that Hakka did not export")


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_HEAD)) == _HEAD


def _document(data: Dataset, entries: Sequence[ImageEntry], numbers: dict[str, tuple[int, int]]) -> Iterator[bytes]:
    """The JSON text in pieces: one image's worth is in memory at a time."""
    yield _HEAD + b'"version":' + orjson.dumps(data.digest) + b'},"licenses":[],\n"categories":'
    yield orjson.dumps([{"id": i, "name": name} for i, name in enumerate(data.names, 1)])
    yield b',\n"images":['
    yield from _joined(orjson.dumps(_image(entry, numbers[entry.image][0])) for entry in entries)
    yield b'],\n"annotations":['
    yield from _joined(orjson.dumps(item) for entry in entries for item in _boxes(data, entry, *numbers[entry.image]))
    yield b"]}\n"


def _joined(items: Iterable[bytes]) -> Iterator[bytes]:
    for i, item in enumerate(items):
        yield b",\n" + item if i else b"\n" + item


def _image(entry: ImageEntry, number: int) -> dict[str, Any]:
    return {"id": number, "file_name": entry.image, "width": entry.width, "height": entry.height}


def _boxes(data: Dataset, entry: ImageEntry, image: int, first: int) -> Iterator[dict[str, Any]]:
    labels = data.labels(entry)
    classes = labels[:, 0].astype(int).tolist()
    if len(labels) != entry.boxes or not set(classes) <= set(range(len(data.names))):
        last = len(data.names) - 1
        raise InvalidInput(f"{data.label_file(entry)}: must hold {entry.boxes} boxes of classes 0 to {last}")
    boxes = coco_boxes(labels[:, 1:], entry.width, entry.height).tolist()
    for i, (label, bbox) in enumerate(zip(classes, boxes, strict=True)):
        area = round(bbox[2] * bbox[3], _DIGITS)
        yield {"id": first + i, "image_id": image, "category_id": label + 1, "bbox": bbox, "area": area, "iscrowd": 0}

"""Parts of a test set that a model is measured on by themselves: what is small, dark, blurred, crowded, rare …"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hakka.boxes import Array
from hakka.data.dataset import Dataset, ImageEntry
from hakka.detector.metrics import SIZES, Matches, average_precision
from hakka.errors import InvalidInput

DARK = 80.0  # mean grey value (0-255) below which a photo is dark
BRIGHT = 175.0  # above which it is bright
BLURRED = 60.0  # variance of the Laplacian, at 256 pixels, below which it is blurred
CROWDED = 8  # boxes from which it is crowded
RARE = 30  # training boxes below which a class is rare
METADATA = "metadata.csv"
MOST_VALUES = 20  # of a metadata column; one with more is a name or a date, not a slice


@dataclass(frozen=True)
class Slice:
    """A part of a test set: these images, or these classes, or the boxes of this size; None is all of them."""

    images: tuple[int, ...] | None = None
    classes: tuple[int, ...] | None = None
    size: int | None = None


def find_slices(
    dataset: Dataset, entries: Sequence[ImageEntry], features: Sequence[Mapping[str, float]], root: Path
) -> dict[str, Slice]:
    """The slices of a test set by name; one without any image, class or box is left out later, when it is measured.

    ``features`` are each image's ``brightness`` and ``blur``. A file ``metadata.csv`` in ``root`` with a column
    ``image`` (the name in the data folder) adds a slice ``column=value`` for every value of its other columns.

    Raises:
        InvalidInput: the metadata file has no column ``image``, or is no text.
    """
    bright = np.array([row["brightness"] for row in features])
    blur = np.array([row["blur"] for row in features])
    boxes = np.array([entry.boxes for entry in entries])
    masks = {
        "dark": bright < DARK,
        "bright": bright > BRIGHT,
        "blurred": blur < BLURRED,
        "crowded": boxes >= CROWDED,
        **_metadata_masks(root / METADATA, entries),
    }
    slices = {name: Slice(images=tuple(np.flatnonzero(mask).tolist())) for name, mask in masks.items()}
    counts = np.zeros(len(dataset.names), int)
    for entry in dataset.split("train"):
        np.add.at(counts, dataset.labels(entry)[:, 0].astype(int), 1)
    slices["rare classes"] = Slice(classes=tuple(np.flatnonzero(counts < RARE).tolist()))
    return slices | {f"{name} boxes": Slice(size=i) for i, name in enumerate(SIZES)}


def _metadata_masks(path: Path, entries: Sequence[ImageEntry]) -> dict[str, Array]:
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = {row["image"]: row for row in reader if row.get("image")}
            columns = [name for name in reader.fieldnames or () if name and name != "image"]
            if "image" not in (reader.fieldnames or ()):
                raise InvalidInput(f"{path}: needs a column 'image', got {', '.join(reader.fieldnames or ['none'])}")
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"{path}: must be CSV in UTF-8: {error}") from None
    masks: dict[str, Array] = {}
    for column in columns:
        values = [str(rows.get(entry.image, {}).get(column) or "").strip() for entry in entries]
        distinct = sorted({value for value in values if value})
        if len(distinct) <= MOST_VALUES:
            masks |= {f"{column}={value}": np.array([one == value for one in values]) for value in distinct}
    return masks


def take_slice(matches: Matches, part: Slice) -> Matches:
    """The matches of a slice. Images keep their numbers, so that a draw of images fits the slice as well.

    Of a size slice, detections that hit a thing of another size, or hit nothing with a box of another size, are left
    out: they are no mistakes about this size (as COCO's area ranges do, at IoU 0.5).
    """
    kept = np.ones(len(matches.image), bool)
    truth = matches.truth
    if part.images is not None:
        inside = np.zeros(len(truth), bool)
        inside[list(part.images)] = True
        kept, truth = inside[matches.image], truth * inside[:, None]
    if part.classes is not None:
        wanted = np.zeros(truth.shape[1], bool)
        wanted[list(part.classes)] = True
        kept, truth = kept & wanted[matches.label], truth * wanted[None, :]
    if part.size is not None:
        kept, truth = kept & (matches.size == part.size), matches.truth_size[:, :, part.size]
    return replace(
        matches,
        image=matches.image[kept],
        label=matches.label[kept],
        score=matches.score[kept],
        hit=matches.hit[kept],
        size=matches.size[kept],
        truth=truth,
    )


def measure_slices(matches: Matches, slices: Mapping[str, Slice]) -> dict[str, dict[str, float | int]]:
    """``images`` (with a box of the slice), ``boxes`` and ``map50`` of each slice that holds a box."""
    measured: dict[str, dict[str, float | int]] = {}
    for name, part in slices.items():
        taken = take_slice(matches, part)
        boxes = int(taken.truth.sum())
        if boxes:
            ap = average_precision(taken, levels=1)[:, 0]
            images = int((taken.truth.sum(axis=1) > 0).sum())
            measured[name] = {"images": images, "boxes": boxes, "map50": round(float(np.nanmean(ap)), 6)}
    return measured

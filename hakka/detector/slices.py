"""Parts of a test set that a model is measured on by themselves: what is small, dark, blurred, crowded, rare …"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hakka.boxes import Array
from hakka.data.dataset import Dataset, ImageEntry
from hakka.data.metadata import METADATA, find_rows, read_metadata
from hakka.detector.metrics import SIZES, Matches, average_precision
from hakka.errors import InvalidInput
from hakka.params import nearest
from hakka.texts import short

DARK = 80.0  # mean grey value (0-255) below which a photo is dark
BRIGHT = 175.0  # above which it is bright
BLURRED = 60.0  # variance of the Laplacian, at 256 pixels, below which it is blurred
CROWDED = 8  # boxes from which it is crowded
RARE = 30  # training boxes below which a class is rare
BUILT_IN = ("dark", "bright", "blurred", "crowded", "rare classes", *(f"{name} boxes" for name in SIZES))


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

    ``features`` are each image's ``brightness`` and ``blur``. A file ``metadata.csv`` in ``root`` adds a slice
    ``column=value`` for every value of its columns.

    Raises:
        InvalidInput: the metadata file cannot be read, see ``hakka.data.metadata``.
    """
    bright = np.array([row["brightness"] for row in features])
    blur = np.array([row["blur"] for row in features])
    boxes = np.array([entry.boxes for entry in entries])
    masks = {
        "dark": bright < DARK,
        "bright": bright > BRIGHT,
        "blurred": blur < BLURRED,
        "crowded": boxes >= CROWDED,
        **_metadata_masks(dataset, entries, root),
    }
    slices = {name: Slice(images=tuple(np.flatnonzero(mask).tolist())) for name, mask in masks.items()}
    counts = np.zeros(len(dataset.names), int)
    for entry in dataset.split("train"):
        np.add.at(counts, dataset.labels(entry)[:, 0].astype(int), 1)
    slices["rare classes"] = Slice(classes=tuple(np.flatnonzero(counts < RARE).tolist()))
    return slices | {f"{name} boxes": Slice(size=i) for i, name in enumerate(SIZES)}


def _metadata_masks(dataset: Dataset, entries: Sequence[ImageEntry], root: Path) -> dict[str, Array]:
    metadata = read_metadata(root)
    if metadata is None:
        return {}
    rows, _ = find_rows(metadata, (entry.image for entry in dataset.entries))
    masks: dict[str, Array] = {}
    for column, values in metadata.columns.items():
        own = [values[rows[entry.image]] if entry.image in rows else "" for entry in entries]
        options = metadata.ranges.get(column) or sorted({value for value in values if value})
        masks |= {f"{column}={value}": np.array([one == value for one in own], bool) for value in options}
    return masks


def check_names(names: Sequence[str]) -> None:
    """Refuse names that no test set has a slice of; ``column=value`` is for :func:`check_metadata_slices` to judge.

    Raises:
        InvalidInput: one of them is neither built in nor a ``column=value``.
    """
    for name in names:
        if name not in BUILT_IN and "=" not in name:
            rule = "slices are built in or column=value of a metadata.csv"
            raise InvalidInput(f"gate.slices: {rule}, got {short(name)}; {nearest(name, BUILT_IN)}")


def check_metadata_slices(names: Sequence[str], root: Path) -> list[str]:
    """Look whether the ``metadata.csv`` of a data folder has the columns of slices; a sentence for each value it lacks.

    Raises:
        InvalidInput: there is no such file or column, the column makes no slices, or the file cannot be read.
    """
    metadata = read_metadata(root)
    notes = []
    for name in names:
        column, equals, value = name.partition("=")
        if not equals:
            continue
        if metadata is None:
            raise InvalidInput(f"gate.slices: {short(name)} needs {root / METADATA}, which is not there")
        if column in metadata.left_out:
            raise InvalidInput(f"gate.slices: {short(name)}: the column {metadata.left_out[column]}: {metadata.path}")
        if column not in metadata.columns:
            known = nearest(column, tuple(metadata.columns))
            raise InvalidInput(f"gate.slices: {short(name)} needs a column {short(column)} in {metadata.path}; {known}")
        if value not in metadata.columns[column]:
            notes.append(f"gate.slices: {short(name)} will not be judged, no row of {metadata.path} has that value")
    return notes


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

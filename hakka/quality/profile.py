"""The distributions of a dataset, and how far two versions of it are apart."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hakka.boxes import Array
from hakka.data.dataset import Dataset, load_dataset
from hakka.data.earlier import name_data
from hakka.data.scan import Scan
from hakka.errors import InvalidInput
from hakka.files import read_json, write_whole
from hakka.texts import counted, short

FORMAT = 1
PROFILE = "profile.json"
POINTS = 201  # quantiles that stand for a distribution
NUMBERS = {
    "boxes_per_image": "boxes per image",
    "box_width": "the width of boxes, as a share of the image",
    "box_height": "the height of boxes, as a share of the image",
    "image_width": "the width of images",
    "image_height": "the height of images",
    "image_aspect": "width by height of images",
    "brightness": "the mean grey value of images",
    "deviation": "the deviation of grey values in images",
}
_CHANCE = 1.95  # times sqrt(1/n + 1/m): what two samples of one distribution exceed once in a thousand (Smirnov, 1948)

Profile = dict[str, Any]
"""``format``, ``dataset`` (digest), ``images``, ``boxes``, ``classes`` (boxes of each), and ``numbers``: by the names
in ``NUMBERS`` the ``count`` of values and ``POINTS`` ``quantiles``, observed values at even distances from 0 to 1."""


def make_profile(dataset: Dataset, scans: Mapping[str, Scan], boxes: Mapping[str, Array]) -> Profile:
    """The profile of a dataset; what was not seen (an image without a scan, unreadable labels) is left out."""
    rows = [boxes[entry.image] for entry in dataset.entries if entry.image in boxes]
    every = np.concatenate(rows) if rows else np.empty((0, 5))
    seen = [scan for scan in (scans.get(entry.image) for entry in dataset.entries) if scan and not scan.problem]
    labels = Counter(int(label) for label in every[:, 0].tolist() if label in range(len(dataset.names)))
    values: dict[str, Iterable[float]] = {
        "boxes_per_image": [len(one) for one in rows],
        "box_width": every[:, 3].tolist(),
        "box_height": every[:, 4].tolist(),
        "image_width": [entry.width for entry in dataset.entries],
        "image_height": [entry.height for entry in dataset.entries],
        "image_aspect": [entry.width / max(entry.height, 1) for entry in dataset.entries],
        "brightness": [scan.brightness for scan in seen],
        "deviation": [scan.deviation for scan in seen],
    }
    return {
        "format": FORMAT,
        "dataset": dataset.digest,
        "images": len(dataset.entries),
        "boxes": len(every),
        "classes": {name: labels[i] for i, name in enumerate(dataset.names)},
        "numbers": {name: _distribution(values[name]) for name in NUMBERS},
    }


def _distribution(values: Iterable[float]) -> dict[str, Any]:
    array = np.array(list(values), dtype=float)
    places = np.linspace(0, 1, POINTS)
    quantiles = np.quantile(array, places, method="inverted_cdf") if len(array) else array
    return {"count": len(array), "quantiles": [float(f"{value:.6g}") for value in quantiles]}


def read_profile(path: Path) -> Profile:
    """A profile from a profile.json, from the folder of a validation, or of a dataset folder (no image is opened).

    Raises:
        InvalidInput: there is none, or it is not a profile of this format.
    """
    if (path / "dataset.json").is_file():
        return _profile_of(load_dataset(path))
    file = path / PROFILE if path.is_dir() else path
    if not file.is_file():
        raise InvalidInput(f"{path}: must be a {PROFILE}, or a folder of a validation or of a dataset")
    value = read_json(file)
    if not isinstance(value, dict) or value.get("format") != FORMAT or not _is_profile(value):
        raise InvalidInput(f"{file}: not a profile of format {FORMAT}")
    return value


def _profile_of(dataset: Dataset) -> Profile:
    boxes = {}
    for entry in dataset.entries:
        try:
            boxes[entry.image] = dataset.labels(entry)
        except InvalidInput:
            continue
    return make_profile(dataset, {}, boxes)


def _is_profile(value: Mapping[str, Any]) -> bool:
    classes, numbers = value.get("classes"), value.get("numbers")
    if not isinstance(classes, dict) or not isinstance(numbers, dict) or not numbers.keys() >= NUMBERS.keys():
        return False
    return all(_is_count(count) for count in classes.values()) and all(_is_distribution(numbers[n]) for n in NUMBERS)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_distribution(value: Any) -> bool:
    if not isinstance(value, dict) or not _is_count(value.get("count")) or not isinstance(value.get("quantiles"), list):
        return False
    numbers = value["quantiles"]
    return len(numbers) == (POINTS if value["count"] else 0) and all(
        isinstance(number, int | float) and math.isfinite(number) for number in numbers
    )


@dataclass(frozen=True)
class DriftLimits:
    """Distances (0–1) up to which two versions count as alike: total variation of classes, Kolmogorov–Smirnov."""

    class_distance: float
    number_distance: float


def find_drift(before: Profile, after: Profile, limits: DriftLimits) -> list[str]:
    """One sentence for everything that differs between two versions by more than the limits and by more than chance."""
    old, new = ({name for name, count in profile["classes"].items() if count} for profile in (before, after))
    found = [f"class {short(name)} is new: {_boxes(after['classes'][name])}" for name in sorted(new - old)]
    found += [f"class {short(name)} has gone: it had {_boxes(before['classes'][name])}" for name in sorted(old - new)]
    if old and new:
        distance, chance = _class_distance(before["classes"], after["classes"])
        if distance > limits.class_distance + chance:
            found.append(_sentence("the shares of the classes", "total variation", limits.class_distance, distance))
    for name, what in NUMBERS.items():
        distance, chance = _number_distance(before["numbers"][name], after["numbers"][name])
        if distance > max(limits.number_distance, chance):
            found.append(_sentence(what, "Kolmogorov–Smirnov", limits.number_distance, distance))
    return found


def _boxes(count: int) -> str:
    return counted(count, "box", "boxes")


def _sentence(what: str, measure: str, limit: float, distance: float) -> str:
    return f"{what}: the {measure} distance from the last version must be ≤ {limit:g}, got {distance:.2f}"


def _class_distance(before: Mapping[str, int], after: Mapping[str, int]) -> tuple[float, float]:
    """Total variation distance of class shares, and twice what it is on average between samples of one distribution."""
    names = sorted(before.keys() | after.keys())
    counts = np.array([[profile.get(name, 0) for name in names] for profile in (before, after)], dtype=float)
    n, m = counts.sum(axis=1)
    shares = counts / [[n], [m]]
    pooled = counts.sum(axis=0) / (n + m)
    chance = np.sqrt(2 / np.pi * pooled * (1 - pooled) * (1 / n + 1 / m)).sum()
    return float(0.5 * np.abs(shares[0] - shares[1]).sum()), float(chance)


def _number_distance(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[float, float]:
    """Kolmogorov–Smirnov distance, to half a hundredth, and how large it may be by chance; 0 where a side is empty."""
    if not before["count"] or not after["count"]:
        return 0.0, 0.0
    one, other = np.array(before["quantiles"]), np.array(after["quantiles"])
    places = np.concatenate([one, other])
    below = [np.searchsorted(values, places, side="right") / POINTS for values in (one, other)]
    return float(np.abs(below[0] - below[1]).max()), _CHANCE * math.sqrt(1 / before["count"] + 1 / after["count"])


def remember_profile(validation: Path, home: Path, data: str) -> Path:
    """Keep the profile of a validation as that of the last accepted version of ``data``, and give the file.

    ``home`` is the folder of everything that runs write, ``data`` the path or address of the data folder.

    Raises:
        InvalidInput: the validation has no profile.
    """
    read_profile(validation / PROFILE)
    target = _home_of(home, data)
    write_whole(target, (validation / PROFILE).read_bytes())
    return target


def last_profile(home: Path, data: str) -> Path | None:
    """The profile of the last accepted version of ``data``, None where there is none."""
    path = _home_of(home, data)
    return path if path.is_file() else None


def _home_of(home: Path, data: str) -> Path:
    return home / "profiles" / f"{name_data(data)}.json"

"""Do train, val and test hold what they should, and nothing of each other?"""

from collections import defaultdict
from typing import Any

import pytest

from hakka.data.dataset import Dataset, ImageEntry
from hakka.data.scan import Scan
from hakka.data.split import SPLITS
from hakka.files import read_json
from hakka.quality.answers import Judge, Problem
from hakka.quality.likeness import Likeness
from hakka.quality.limits import Limits


@pytest.fixture(scope="session")
def shares(dataset: Dataset) -> dict[str, float]:
    """The share (0–1) of the images that each split was asked to hold."""
    asked: dict[str, Any] = read_json(dataset.path / "dataset.json").get("split", {"val": 0.15, "test": 0.15})
    return {"train": 1 - asked["val"] - asked["test"], "val": asked["val"], "test": asked["test"]}


def test_splits_filled(dataset: Dataset, shares: dict[str, float], judge: Judge) -> None:
    """No split that was asked for is empty."""
    judge(
        (None, f"split {split}: must hold images, got none of {len(dataset.entries)}")
        for split in SPLITS
        if shares[split] > 0 and not dataset.split(split)
    )


def test_split_shares(dataset: Dataset, shares: dict[str, float], limits: Limits, judge: Judge) -> None:
    """Every split holds about the share that was asked for."""
    slack = limits.number("split_shares", "slack")
    problems: list[Problem] = []
    for split in SPLITS:
        share = len(dataset.split(split)) / max(len(dataset.entries), 1)
        low, high = shares[split] * (1 - slack), shares[split] * (1 + slack)
        if not low <= share <= high:
            problems.append((None, f"split {split}: its share must be from {low:.2f} to {high:.2f}, got {share:.2f}"))
    judge(problems)


def test_exact_duplicates(dataset: Dataset, scans: dict[str, Scan], judge: Judge) -> None:
    """No two images have the same bytes."""
    first: dict[str, ImageEntry] = {}
    problems: list[Problem] = []
    for entry in dataset.entries:
        digest = scans[entry.image].sha256 or entry.sha256
        twin = first.setdefault(digest, entry)
        if twin is not entry:
            problems.append((entry.image, f"{_named(entry)}: same bytes as {_named(twin)}", twin.image))
    judge(problems)


def test_split_leakage(dataset: Dataset, likeness: Likeness, judge: Judge) -> None:
    """No image of one split looks nearly like an image of another, and no scene is torn apart."""
    splits: dict[str, set[str]] = defaultdict(set)
    for entry in dataset.entries:
        splits[entry.group].add(entry.split)
    torn = [
        (None, f"scene {group}: must be in one split, is in {sorted(found)}")
        for group, found in splits.items()
        if len(found) > 1
    ]
    leaks = [
        (entry.image, f"{_named(entry)} looks like {_named(other)}{turned}: {bits} of 256 bits differ", other.image)
        for nearest, turned in ((likeness.across, ""), (likeness.mirrored, " mirrored or upside down"))
        for entry in dataset.entries
        for other, bits in ([nearest[entry.image]] if entry.image in nearest else [])
    ]
    judge([*torn, *leaks])


def test_near_duplicates(dataset: Dataset, likeness: Likeness, judge: Judge) -> None:
    """No split is filled up with copies of one photo."""
    judge(
        (image, f"{image} is nearly {other.image}: {bits} of 256 bits differ", other.image)
        for image, (other, bits) in sorted(likeness.within.items())
    )


def _named(entry: ImageEntry) -> str:
    return f"{entry.image} ({entry.split})"

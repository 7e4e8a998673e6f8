"""Who goes to train, val and test: scenes, by their digest, so that adding photos moves nobody else."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hakka.errors import InvalidInput

SPLITS = ("train", "val", "test")
SLACK = 0.5  # a split may hold half to one and a half times its share before scenes are moved


@dataclass(frozen=True)
class SplitParams:
    """Section ``split`` of params.yaml.

    ``val`` and ``test`` are shares (0–1) of the images, the rest is train. ``near_duplicate_bits`` is how many of the
    256 bits of two perceptual hashes may differ for the photos to count as one scene.
    """

    val: float = 0.15
    test: float = 0.15
    seed: int = 0
    near_duplicate_bits: int = 84

    def __post_init__(self) -> None:
        """Raises InvalidInput for shares that leave nothing to train on and for a number of bits out of range."""
        if not (0 <= self.val < 1 and 0 <= self.test < 1 and self.val + self.test < 1):
            raise InvalidInput(
                f"split: val and test must be shares from 0 with a sum below 1, got {self.val}, {self.test}"
            )
        if not 0 <= self.near_duplicate_bits <= 256:
            raise InvalidInput(f"split.near_duplicate_bits must be from 0 to 256, got {self.near_duplicate_bits}")


@dataclass(frozen=True)
class Scene:
    """Images that stay together: how many, and the classes that are seen in them."""

    id: str
    images: int
    classes: frozenset[int]


def assign_splits(scenes: Iterable[Scene], params: SplitParams) -> dict[str, str]:
    """Scene id → split, the same for the same scenes in any order.

    1. The digest of seed and scene id puts every scene at a position from 0 to 1: below ``test`` it is test, below
       ``test + val`` it is val, else train. With enough data this is all, and no scene moves when others are added.
    2. Where chance left val or test empty, below half or above one and a half times its share (small data), the scenes
       nearest to the cut change sides until it is not.
    3. A class that train has never seen gets its best placed scene into train; a class with three scenes or more that
       val or test lack gets its smallest scene there, if train keeps another scene of every class in it and val or test
       do not grow over their bound.
    """
    assignment = _Assignment(sorted(scenes, key=lambda scene: scene.id), params)
    for split in ("test", "val"):
        assignment.balance(split)
    assignment.spread_classes()
    return {scene.id: assignment.split_of[scene.id] for scene in assignment.scenes}


class _Assignment:
    def __init__(self, scenes: Sequence[Scene], params: SplitParams) -> None:
        self.scenes = scenes
        self.share = {"test": params.test, "val": params.val}
        self.starts = {"test": 0.0, "val": params.test}
        self.position = {scene.id: _position(scene.id, params.seed) for scene in scenes}
        self.total = sum(scene.images for scene in scenes)
        self.split_of = {scene.id: _cut(self.position[scene.id], params.test, params.val) for scene in scenes}

    def members(self, split: str) -> list[Scene]:
        return [scene for scene in self.scenes if self.split_of[scene.id] == split]

    def images(self, split: str) -> int:
        return sum(scene.images for scene in self.members(split))

    def bounds(self, split: str) -> tuple[float, float]:
        wanted = self.share[split] * self.total
        return (1 - SLACK) * wanted, (1 + SLACK) * wanted

    def balance(self, split: str) -> None:
        """Bring val or test within its bounds, scenes nearest to the cut first; train never gives its last scene."""
        low, high = self.bounds(split)
        while self.images(split) > high:
            out = [scene for scene in self.members(split) if self.images(split) - scene.images >= low]
            out = [scene for scene in out if self.images(split) > scene.images]
            if not out:
                break
            self.split_of[max(out, key=lambda scene: (self.position[scene.id], scene.id)).id] = "train"
        while self.share[split] > 0 and (self.images(split) < low or self.images(split) == 0):
            train = self.members("train")
            fitting = [scene for scene in train if self.images(split) + scene.images <= high]
            if len(train) < 2 or (not fitting and self.images(split) > 0):
                break
            candidates = fitting or [min(train, key=lambda scene: (scene.images, scene.id))]
            self.split_of[min(candidates, key=lambda scene: self._distance(scene, split)).id] = split

    def spread_classes(self) -> None:
        """Rule 3, rarest classes first."""
        holders: dict[int, list[Scene]] = {}
        for scene in self.scenes:
            for label in scene.classes:
                holders.setdefault(label, []).append(scene)
        for label in sorted(holders, key=lambda label: (len(holders[label]), label)):
            self._give_to_train(holders[label])
            for split in ("test", "val"):
                if self.share[split] > 0 and len(holders[label]) >= 3:
                    self._give(split, holders[label], holders)

    def _give_to_train(self, holders: list[Scene]) -> None:
        if any(self.split_of[scene.id] == "train" for scene in holders):
            return
        spare = [scene for scene in holders if len(self.members(self.split_of[scene.id])) > 1] or holders
        self.split_of[max(spare, key=lambda scene: (self.position[scene.id], scene.id)).id] = "train"

    def _give(self, split: str, holders: list[Scene], by_class: dict[int, list[Scene]]) -> None:
        if any(self.split_of[scene.id] == split for scene in holders):
            return
        room = self.bounds(split)[1] - self.images(split)
        movable = [
            scene
            for scene in holders
            if self.split_of[scene.id] == "train" and scene.images <= room and self._train_can_spare(scene, by_class)
        ]
        if movable:
            self.split_of[min(movable, key=lambda scene: (scene.images, *self._distance(scene, split))).id] = split

    def _train_can_spare(self, scene: Scene, by_class: dict[int, list[Scene]]) -> bool:
        return all(
            any(other.id != scene.id and self.split_of[other.id] == "train" for other in by_class[label])
            for label in scene.classes
        )

    def _distance(self, scene: Scene, split: str) -> tuple[float, str]:
        start, end = self.starts[split], self.starts[split] + self.share[split]
        return max(start - self.position[scene.id], self.position[scene.id] - end, 0.0), scene.id


def _position(scene: str, seed: int) -> float:
    return int(hashlib.sha256(f"{seed}:{scene}".encode()).hexdigest()[:13], 16) / 16**13


def _cut(position: float, test: float, val: float) -> str:
    return "test" if position < test else "val" if position < test + val else "train"

"""Who goes to train, val and test: scenes, by their digest, or as an earlier version of the data has them."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hakka.errors import InvalidInput

SPLITS = ("train", "val", "test")
SLACK = 0.5  # a split may hold half to one and a half times its share before scenes are moved


@dataclass(frozen=True)
class SplitParams:
    """Section ``split`` of params.yaml.

    ``val`` and ``test`` are shares (0–1) of the images, the rest is train. ``near_duplicate_bits`` is how many of the
    256 bits of two perceptual hashes may differ for the photos to count as one scene. With ``keep_source`` images stay
    in the split that the source names for them.
    """

    val: float = 0.15
    test: float = 0.15
    seed: int = 0
    near_duplicate_bits: int = 84
    keep_source: bool = False

    def __post_init__(self) -> None:
        """Raises InvalidInput for shares that leave nothing to train on and for a number of bits out of range."""
        if not (0 <= self.val < 1 and 0 <= self.test < 1 and self.val + self.test < 1):
            raise InvalidInput(
                f"split: val and test must be shares from 0 with a sum below 1, got {self.val}, {self.test}"
            )
        if not 0 <= self.near_duplicate_bits <= 256:
            raise InvalidInput(f"split.near_duplicate_bits must be from 0 to 256, got {self.near_duplicate_bits}")

    def about(self) -> dict[str, Any]:
        """What ``dataset.json`` says of the split."""
        return {
            "val": self.val,
            "test": self.test,
            "seed": self.seed,
            "bits": self.near_duplicate_bits,
            "keep_source": self.keep_source,
        }


@dataclass(frozen=True, slots=True)
class Scene:
    """Images that stay together: how many, the classes that are seen in them, and the split that holds them, if any."""

    id: str
    images: int
    classes: Collection[int]
    held: str | None = None


def assign_splits(scenes: Iterable[Scene], params: SplitParams) -> dict[str, str]:
    """Scene id → split, the same for the same scenes in any order.

    A scene that is held stays where it is, and counts in the rules by which the others are spread:

    1. The digest of seed and scene id puts every scene at a position from 0 to 1: below ``test`` it is test, below
       ``test + val`` it is val, else train. This alone would nearly keep scenes where they are when some are added, but
       a scene moves where the added ones change what the next two rules do, or join it under another id. Hence the
       holding: no rule that looks at all scenes can spread rare classes and never move one.
    2. Where chance left val or test empty, below half or above one and a half times its share (small data), the scenes
       nearest to the cut change sides until it is not.
    3. Rarest classes first: a class that train has never seen gets its best placed scene into train; a class with three
       scenes or more that val or test lack gets its smallest scene there, if the split that gives it keeps another
       scene of every class in it. Where val or test would grow over their bound, scenes that they can spare in the same
       way make room for it, those nearest to the cut first.
    """
    assignment = _Assignment(sorted(scenes, key=lambda scene: scene.id), params)
    for split in ("test", "val"):
        assignment.balance(split)
    assignment.spread_classes()
    return {scene.id: assignment.split_of[scene.id] for scene in assignment.scenes}


def keep_splits(splits: Sequence[str | None], scenes: Sequence[str], params: SplitParams) -> list[str]:
    """The split of each image, by its own (None: it has none) as in ``hold_splits``, else by its scene's digest."""
    held = hold_splits(splits, scenes)
    return [split or _place(scene, params) for split, scene in zip(held, scenes, strict=True)]


def hold_splits(splits: Sequence[str | None], scenes: Sequence[str]) -> list[str | None]:
    """The split of each image whose scene has one already, by the image's own (None: it is new); None elsewhere.

    An image that has one stays in it, whatever comes. A new one goes where the others of its scene are. If those are in
    several splits, as when new images link scenes that were apart, the scene leaks wherever the new ones go, and to
    move the old ones would put what was learnt from into the test: so the new ones go where most of the others are (of
    equally many to the first of train, val, test), which makes the fewest near-identical pairs across splits, and
    whoever calls this must report the leak.
    """
    known: dict[str, Counter[str]] = {}
    for split, scene in zip(splits, scenes, strict=True):
        if split is not None:
            known.setdefault(scene, Counter())[split] += 1
    most = {scene: max(SPLITS, key=lambda split: counts[split]) for scene, counts in known.items()}
    return [split or most.get(scene) for split, scene in zip(splits, scenes, strict=True)]


class _Assignment:
    def __init__(self, scenes: Sequence[Scene], params: SplitParams) -> None:
        self.scenes = scenes
        self.share = {"test": params.test, "val": params.val}
        self.starts = {"test": 0.0, "val": params.test}
        self.position = {scene.id: _position(scene.id, params.seed) for scene in scenes}
        self.split_of = {
            scene.id: scene.held or _cut(self.position[scene.id], params.test, params.val) for scene in scenes
        }
        self._seen: Counter[tuple[int, str]] = Counter()  # class and split → scenes; from ``spread_classes`` on
        self._images = dict.fromkeys(SPLITS, 0)
        for scene in scenes:
            self._images[self.split_of[scene.id]] += scene.images

    def members(self, split: str) -> list[Scene]:
        return [scene for scene in self.scenes if self.split_of[scene.id] == split]

    def free(self, split: str) -> list[Scene]:
        return [scene for scene in self.members(split) if scene.held is None]

    def images(self, split: str) -> int:
        return self._images[split]

    def move(self, scene: Scene, split: str) -> None:
        before = self.split_of[scene.id]
        self._images[before] -= scene.images
        self._images[split] += scene.images
        self._seen.subtract((label, before) for label in scene.classes)
        self._seen.update((label, split) for label in scene.classes)
        self.split_of[scene.id] = split

    def bounds(self, split: str) -> tuple[float, float]:
        wanted = self.share[split] * sum(self._images.values())
        return (1 - SLACK) * wanted, (1 + SLACK) * wanted

    def balance(self, split: str) -> None:
        """Bring val or test within its bounds, scenes nearest to the cut first; train never gives its last scene."""
        low, high = self.bounds(split)
        while self.images(split) > high:
            out = [scene for scene in self.free(split) if self.images(split) - scene.images >= low]
            out = [scene for scene in out if self.images(split) > scene.images]
            if not out:
                break
            self.move(max(out, key=lambda scene: (self.position[scene.id], scene.id)), "train")
        while self.share[split] > 0 and (self.images(split) < low or self.images(split) == 0):
            free = self.free("train")
            fitting = [scene for scene in free if self.images(split) + scene.images <= high]
            if not free or len(self.members("train")) < 2 or (not fitting and self.images(split) > 0):
                break
            candidates = fitting or [min(free, key=lambda scene: (scene.images, scene.id))]
            self.move(min(candidates, key=lambda scene: self._distance(scene, split)), split)

    def spread_classes(self) -> None:
        """Rule 3, rarest classes first."""
        if self._has_every_class_everywhere():
            return
        holders: dict[int, list[Scene]] = {}
        for scene in self.scenes:
            for label in scene.classes:
                holders.setdefault(label, []).append(scene)
        self._seen = Counter((label, self.split_of[scene.id]) for scene in self.scenes for label in scene.classes)
        for label in sorted(holders, key=lambda label: (len(holders[label]), label)):
            self._give_to_train(holders[label])
            for split in ("test", "val"):
                if self.share[split] > 0 and len(holders[label]) >= 3:
                    self._give(split, label, holders[label])

    def _has_every_class_everywhere(self) -> bool:
        found: dict[str, set[int]] = {split: set() for split in SPLITS if self.share.get(split, 1) > 0}
        for scene in self.scenes:
            found.setdefault(self.split_of[scene.id], set()).update(scene.classes)
        return all(classes == found["train"] for classes in found.values())

    def _give_to_train(self, holders: list[Scene]) -> None:
        if any(self.split_of[scene.id] == "train" for scene in holders):
            return
        free = [scene for scene in holders if scene.held is None]
        spare = [scene for scene in free if len(self.members(self.split_of[scene.id])) > 1] or free
        if spare:
            self.move(max(spare, key=lambda scene: (self.position[scene.id], scene.id)), "train")

    def _give(self, split: str, label: int, holders: list[Scene]) -> None:
        if self._seen[label, split]:
            return
        high = self.bounds(split)[1]
        movable = [scene for scene in holders if scene.images <= high and self._can_spare(scene)]
        if not movable:
            return
        best = min(
            movable,
            key=lambda scene: (scene.images, self.split_of[scene.id] != "train", *self._distance(scene, split)),
        )
        if self._make_room(split, best.images):
            self.move(best, split)

    def _make_room(self, split: str, images: int) -> bool:
        """Move scenes that a split can spare to train until so many more images keep it within its bounds."""
        high = self.bounds(split)[1]
        leaving: list[Scene] = []
        while self.images(split) + images > high:
            spare = [scene for scene in self.free(split) if self._can_spare(scene)]
            if not spare:
                for scene in leaving:
                    self.move(scene, split)
                return False
            leaving.append(max(spare, key=lambda scene: (self.position[scene.id], scene.id)))
            self.move(leaving[-1], "train")
        return True

    def _can_spare(self, scene: Scene) -> bool:
        """Whether a scene may leave its split, which then has another scene of every class in it, and enough images."""
        split = self.split_of[scene.id]
        enough = split == "train" or self.images(split) - scene.images >= self.bounds(split)[0]
        return scene.held is None and enough and all(self._seen[label, split] > 1 for label in scene.classes)

    def _distance(self, scene: Scene, split: str) -> tuple[float, str]:
        start, end = self.starts[split], self.starts[split] + self.share[split]
        return max(start - self.position[scene.id], self.position[scene.id] - end, 0.0), scene.id


def _position(scene: str, seed: int) -> float:
    return int(hashlib.sha256(f"{seed}:{scene}".encode()).hexdigest()[:13], 16) / 16**13


def _place(scene: str, params: SplitParams) -> str:
    return _cut(_position(scene, params.seed), params.test, params.val)


def _cut(position: float, test: float, val: float) -> str:
    return "test" if position < test else "val" if position < test + val else "train"

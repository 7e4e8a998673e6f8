"""What changed between two states of the data, in images, boxes and classes. Pure: no disk, no DVC."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from hakka.boxes import Array, iou_matrix

SAME_PLACE = {"shares": 1e-5, "pixels": 0.01}  # how far an edge may shift by rounding
SAME_OBJECT = 0.5  # IoU from which two boxes are one object that was moved or named anew
MOST_PAIRS = 10_000_000  # pairs of unequal boxes of one image that are compared at most


@dataclass(frozen=True)
class ImageBoxes:
    """The boxes of one image: class names, and (n, 4) xyxy in shares (0–1) or pixels of its upright sides."""

    labels: tuple[str, ...]
    corners: Array
    unit: Literal["shares", "pixels"] = "shares"


@dataclass(frozen=True)
class Snapshot:
    """One state of the data: every image with the digest of its bytes, and the boxes of those that can be read.

    ``refused_images`` and ``refused_boxes`` count what is broken in this state and so cannot be compared.
    """

    name: str
    images: Mapping[str, str]
    boxes: Mapping[str, ImageBoxes]
    classes: tuple[str, ...]
    refused_images: int = 0
    refused_boxes: int = 0


@dataclass(frozen=True)
class ImageChanges:
    """``renamed`` are pairs (before, after) of the same bytes; ``changed`` have the same name and other bytes."""

    before: int
    after: int
    unchanged: int
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]


@dataclass
class BoxChanges:
    """Numbers of boxes, of one class or of all.

    ``moved`` kept their class. ``relabelled_from`` left this class and ``relabelled_to`` came to it while they stayed
    about where they were. So before = unchanged + moved + removed + relabelled_from, and
    after = unchanged + moved + added + relabelled_to.
    """

    before: int = 0
    after: int = 0
    unchanged: int = 0
    moved: int = 0
    added: int = 0
    removed: int = 0
    relabelled_from: int = 0
    relabelled_to: int = 0


@dataclass(frozen=True)
class Diff:
    """Everything that changed.

    ``relabelled`` counts boxes by (class before, class after). ``redrawn`` are the images of both states, by their name
    after, whose boxes differ. ``unlike`` are images whose boxes one state gives in shares and the other in pixels
    without a size: all of them count as removed and added.
    """

    before: Snapshot
    after: Snapshot
    images: ImageChanges
    classes: Mapping[str, BoxChanges]
    relabelled: Mapping[tuple[str, str], int]
    redrawn: tuple[str, ...]
    unlike: tuple[str, ...]

    @property
    def boxes(self) -> BoxChanges:
        """The sums over all classes."""
        rows = [asdict(changes) for changes in self.classes.values()]
        return BoxChanges(**{name: sum(row[name] for row in rows) for name in asdict(BoxChanges())})

    @property
    def is_empty(self) -> bool:
        """True if nothing changed but perhaps how it is written down."""
        images, boxes = self.images, self.boxes
        return not (images.added or images.removed or images.changed or images.renamed or self.redrawn) and (
            boxes.before == boxes.after == boxes.unchanged and set(self.before.classes) == set(self.after.classes)
        )

    def to_json(self) -> dict[str, Any]:
        """The diff as one JSON value; lists of names are whole."""
        old, new = self.before.classes, self.after.classes
        return {
            **{side: _about(state) for side, state in (("from", self.before), ("to", self.after))},
            "same": self.is_empty,
            "images": asdict(self.images),
            "boxes": asdict(self.boxes),
            "classes": {
                "added": [name for name in new if name not in old],
                "removed": [name for name in old if name not in new],
                "counts": {name: asdict(changes) for name, changes in self.classes.items()},
            },
            "relabelled": [
                {"from": old, "to": new, "boxes": count} for (old, new), count in sorted(self.relabelled.items())
            ],
            "redrawn": list(self.redrawn),
            "unlike": list(self.unlike),
        }


def compare(before: Snapshot, after: Snapshot) -> Diff:
    """What has to be told to someone who knows ``before`` so that they know ``after``.

    Images are one if they have one name or, failing that, the same bytes (renamed). Boxes of one image and class are
    one if they overlap with an IoU of ``SAME_OBJECT`` at least, best pairs first; what is left over pairs up across
    classes in the same way (relabelled).
    """
    images = _compare_images(before.images, after.images)
    counter = _Counter({name: BoxChanges() for name in dict.fromkeys((*before.classes, *after.classes))})
    renamed = {new: old for old, new in images.renamed}
    for image in images.removed:
        counter.count_all(before.boxes.get(image, _NONE), "removed")
    for image in images.added:
        counter.count_all(after.boxes.get(image, _NONE), "added")
    redrawn, unlike = [], []
    for image in after.images:
        source = renamed.get(image, image)
        if source not in before.images:
            continue
        old, new = before.boxes.get(source, _NONE), after.boxes.get(image, _NONE)
        if old.unit != new.unit and old.labels and new.labels:
            unlike.append(image)
        if counter.count_image(old, new):
            redrawn.append(image)
    return Diff(before, after, images, counter.classes, counter.relabelled, tuple(sorted(redrawn)), tuple(unlike))


def _compare_images(before: Mapping[str, str], after: Mapping[str, str]) -> ImageChanges:
    both = before.keys() & after.keys()
    changed = sorted(name for name in both if before[name] != after[name])
    gone: dict[str, list[str]] = defaultdict(list)
    for name in sorted(before.keys() - both, reverse=True):
        gone[before[name]].append(name)
    renamed, added = [], []
    for name in sorted(after.keys() - both):
        twins = gone.get(after[name])
        if twins:
            renamed.append((twins.pop(), name))
        else:
            added.append(name)
    return ImageChanges(
        before=len(before),
        after=len(after),
        unchanged=len(both) - len(changed),
        added=tuple(added),
        removed=tuple(sorted(name for names in gone.values() for name in names)),
        changed=tuple(changed),
        renamed=tuple(renamed),
    )


class _Counter:
    """Gathers what becomes of boxes, image by image."""

    def __init__(self, classes: dict[str, BoxChanges]) -> None:
        self.classes = classes
        self.relabelled: Counter[tuple[str, str]] = Counter()

    def count_all(self, boxes: ImageBoxes, fate: Literal["added", "removed"]) -> None:
        for label in boxes.labels:
            self._add(label, "after" if fate == "added" else "before", fate)

    def count_image(self, old: ImageBoxes, new: ImageBoxes) -> bool:
        """Count the boxes of an image of both states; True if they differ."""
        if old.labels == new.labels and old.unit == new.unit and np.array_equal(old.corners, new.corners):
            for label in old.labels:
                self._add(label, "before", "after", "unchanged")
            return False
        if old.unit != new.unit:
            self.count_all(old, "removed")
            self.count_all(new, "added")
            return bool(old.labels or new.labels)
        return self._match(old, new)

    def _match(self, old: ImageBoxes, new: ImageBoxes) -> bool:
        within, left, right = [], [], []
        places = _places(old.labels), _places(new.labels)
        for label in dict.fromkeys((*old.labels, *new.labels)):
            mine, yours = (side.get(label, []) for side in places)
            pairs = pair_boxes(old.corners[mine], new.corners[yours], new.unit)
            within += [(mine[i], yours[j]) for i, j in pairs]
            left += _without(mine, [i for i, _ in pairs])
            right += _without(yours, [j for _, j in pairs])
        moved = 0
        for i, j in within:
            stays = bool(np.abs(old.corners[i] - new.corners[j]).max() <= SAME_PLACE[new.unit])
            moved += not stays
            self._add(new.labels[j], "before", "after", "unchanged" if stays else "moved")
        across = pair_boxes(old.corners[left], new.corners[right], new.unit)
        for i, j in across:
            was, now = old.labels[left[i]], new.labels[right[j]]
            self._add(was, "before", "relabelled_from")
            self._add(now, "after", "relabelled_to")
            self.relabelled[was, now] += 1
        for i in _without(left, [i for i, _ in across]):
            self._add(old.labels[i], "before", "removed")
        for j in _without(right, [j for _, j in across]):
            self._add(new.labels[j], "after", "added")
        return bool(moved or left or right)

    def _add(self, label: str, *counts: str) -> None:
        changes = self.classes[label]
        for count in counts:
            setattr(changes, count, getattr(changes, count) + 1)


def pair_boxes(old: Array, new: Array, unit: Literal["shares", "pixels"]) -> list[tuple[int, int]]:
    """Which of (n, 4) boxes is which of (m, 4): equal ones first, then the best overlaps from ``SAME_OBJECT`` on.

    Unequal boxes are paired only up to ``MOST_PAIRS`` comparisons, so that no image costs minutes or the memory.
    """
    places: dict[bytes, list[int]] = defaultdict(list)
    for j, key in reversed(list(enumerate(_keys(new, unit)))):
        places[key].append(j)
    pairs = [(i, places[key].pop()) for i, key in enumerate(_keys(old, unit)) if places.get(key)]
    left = _without(range(len(old)), [i for i, _ in pairs])
    right = _without(range(len(new)), [j for _, j in pairs])
    if 0 < len(left) * len(right) <= MOST_PAIRS:
        pairs += [(left[i], right[j]) for i, j in _best_overlaps(iou_matrix(old[left], new[right]))]
    return pairs


def _best_overlaps(iou: Array) -> Iterator[tuple[int, int]]:
    rows, columns = np.nonzero(iou >= SAME_OBJECT)
    order = np.argsort(-iou[rows, columns], kind="stable")
    taken: tuple[set[int], set[int]] = set(), set()
    for i, j in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if i not in taken[0] and j not in taken[1]:
            taken[0].add(i)
            taken[1].add(j)
            yield i, j


def _keys(boxes: Array, unit: Literal["shares", "pixels"]) -> list[bytes]:
    return [row.tobytes() for row in np.round(boxes / SAME_PLACE[unit]).astype(np.int64)]


def _places(labels: Sequence[str]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, label in enumerate(labels):
        places.setdefault(label, []).append(place)
    return places


def _without(indices: Sequence[int], taken: Sequence[int]) -> list[int]:
    """``indices`` but for those at the positions ``taken``."""
    gone = set(taken)
    return [index for place, index in enumerate(indices) if place not in gone]


def _about(state: Snapshot) -> dict[str, Any]:
    return {
        "name": state.name,
        "images": len(state.images),
        "boxes": sum(len(boxes.labels) for boxes in state.boxes.values()),
        "classes": len(state.classes),
        "refused_images": state.refused_images,
        "refused_boxes": state.refused_boxes,
    }


_NONE = ImageBoxes((), np.empty((0, 4)))

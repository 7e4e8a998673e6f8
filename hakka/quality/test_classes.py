"""Is there enough of every class, where it is needed?"""

from collections import Counter, defaultdict

from hakka.boxes import Array
from hakka.data.dataset import Dataset
from hakka.quality.answers import Judge
from hakka.quality.limits import Limits
from hakka.texts import counted, short


def test_boxes_to_learn(dataset: Dataset, class_counts: dict[str, Counter[str]], judge: Judge) -> None:
    """There is something to learn: a class, and boxes in train."""
    if not dataset.names:
        judge([(None, "the dataset must have at least one class, got none")])
    elif not class_counts["train"].total():
        images = counted(len(dataset.split("train")), "image")
        judge([(None, f"split train: must have at least one box, got none on {images}")])
    else:
        judge([])


def test_class_instances(dataset: Dataset, class_counts: dict[str, Counter[str]], limits: Limits, judge: Judge) -> None:
    """Every class has enough boxes to be learned."""
    least = limits.number("class_instances", "min_boxes")
    total = sum(class_counts.values(), Counter())
    judge(
        (None, f"class {short(name)}: must have ≥ {least:g} boxes, got {total[name]}")
        for name in dataset.names
        if total[name] < least
    )


def test_class_balance(class_counts: dict[str, Counter[str]], limits: Limits, judge: Judge) -> None:
    """The most frequent class does not drown the rarest."""
    most = limits.number("class_balance", "max_ratio")
    ordered = sum(class_counts.values(), Counter()).most_common()
    if not ordered or ordered[0][1] <= most * ordered[-1][1]:
        judge([])
        return
    (often, high), (seldom, low) = ordered[0], ordered[-1]
    counts = f"{short(often)} has {counted(high, 'box', 'boxes')}, {short(seldom)} {low}"
    judge([(None, f"{counts}: the ratio must be ≤ {most:g}, got {high / low:.0f}")])


def test_classes_trained(dataset: Dataset, class_counts: dict[str, Counter[str]], judge: Judge) -> None:
    """Every class is seen in training."""
    judge(
        (None, f"class {short(name)}: train has no box of it")
        for name in dataset.names
        if not class_counts["train"][name]
    )


def test_class_splits(
    dataset: Dataset, class_counts: dict[str, Counter[str]], boxes: dict[str, Array], limits: Limits, judge: Judge
) -> None:
    """Every class with enough scenes is measured in val and in test."""
    least = limits.number("class_splits", "min_scenes")
    scenes: dict[int, set[str]] = defaultdict(set)
    for entry in dataset.entries:
        if entry.image in boxes:
            for label in boxes[entry.image][:, 0]:
                scenes[int(label)].add(entry.group)
    judge(
        (None, f"class {short(name)}: is in {counted(len(scenes[label]), 'scene')}, but {split} has no box of it")
        for label, name in enumerate(dataset.names)
        for split in ("val", "test")
        if dataset.split(split) and len(scenes[label]) >= least and not class_counts[split][name]
    )


def test_background_share(dataset: Dataset, limits: Limits, judge: Judge) -> None:
    """Not too many images are without any box."""
    most = limits.number("background_share", "max_share")
    empty = sum(entry.boxes == 0 for entry in dataset.entries)
    share = empty / max(len(dataset.entries), 1)
    reason = f"{empty} of {len(dataset.entries)} images have no box: the share must be ≤ {most:g}, got {share:.2f}"
    judge([(None, reason)] if share > most else [])

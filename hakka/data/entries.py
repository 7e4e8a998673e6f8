"""The entries of a dataset: of each image its scene, its split, and the name of its label file."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from hakka.boxes import Array
from hakka.data.dataset import ImageEntry
from hakka.data.findings import Finding, printable
from hakka.data.formats.annotations import SourceImage
from hakka.data.groups import group_scans
from hakka.data.scan import Scan
from hakka.data.split import Scene, SplitParams, assign_splits, keep_splits

_MOST_LEAKS = 100  # scenes that are told one by one
_PLAIN = re.compile(r"[\w()+,=@-](?:[\w.()+,=@ -]{0,48}[\w.()+,=@-])?")  # 50 letters, 200 bytes at most


def make_entries(
    images: Sequence[SourceImage],
    scans: Mapping[str, Scan],
    labels: Array,
    starts: Sequence[int],
    params: SplitParams,
) -> tuple[list[ImageEntry], list[Finding]]:
    """An entry for each image, in their order, and a note for each scene that the source's own split tears apart.

    ``labels`` (n,) are the class indices of all boxes, those of image ``i`` from ``starts[i]`` to ``starts[i + 1]``.
    """
    seen = [scans[image.image] for image in images]
    groups = list(group_scans(seen, params.near_duplicate_bits).values())
    splits, notes = _split(images, groups, labels.astype(int).tolist(), starts, params)
    stems = make_stems([(image.image, scan.sha256) for image, scan in zip(images, seen, strict=True)])
    entries = [
        ImageEntry(
            image=images[i].image,
            stem=stems[i],
            sha256=scan.sha256,
            bytes=scan.length,
            width=scan.width,
            height=scan.height,
            split=splits[i],
            boxes=starts[i + 1] - starts[i],
            group=groups[i],
        )
        for i, scan in enumerate(seen)
    ]
    return entries, notes


def _split(
    images: Sequence[SourceImage],
    groups: Sequence[str],
    labels: Sequence[int],
    starts: Sequence[int],
    params: SplitParams,
) -> tuple[list[str], list[Finding]]:
    """The split of each image, and notes."""
    if params.keep_source:
        splits = keep_splits([image.split for image in images], groups, params)
        return splits, _find_leaks([image.image for image in images], splits, groups)
    members: dict[str, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    scenes = [
        Scene(group, len(rows), tuple(set().union(*(labels[starts[i] : starts[i + 1]] for i in rows))))
        for group, rows in members.items()
    ]
    split_of = assign_splits(scenes, params)
    return [split_of[group] for group in groups], []


def _find_leaks(images: Sequence[str], splits: Sequence[str], groups: Sequence[str]) -> list[Finding]:
    """A note for each scene that is in more than one split."""
    scenes: dict[str, dict[str, str]] = {}
    for image, split, group in zip(images, splits, groups, strict=True):
        scenes.setdefault(group, {}).setdefault(split, image)
    notes = [
        f"the source's own split leaks: near-identical photos are in {' and '.join(sorted(torn))}, such as "
        + " and ".join(torn[split] for split in sorted(torn))
        for torn in scenes.values()
        if len(torn) > 1
    ]
    if len(notes) > _MOST_LEAKS:
        more = len(notes) - _MOST_LEAKS
        notes = [*notes[:_MOST_LEAKS], f"the source's own split tears {more} more scenes apart"]
    return [Finding("note", None, None, note) for note in notes]


def make_stems(images: Sequence[tuple[str, str]]) -> list[str]:
    """The name of each image's label file, from image and digest.

    It is the image's own where it is the only one, else with eight digits of the digest. Case does not tell two names
    apart, because on some file systems it does not.
    """
    plain = [_plain_stem(image) for image, _ in images]
    folded = [stem.lower() for stem in plain]
    count = Counter(folded)
    if len(count) == len(plain):
        return plain
    taken: set[str] = set()
    stems = []
    for (_, digest), stem, key in zip(images, plain, folded, strict=True):
        if count[key] > 1:
            stem = f"{stem}-{digest[:8]}"
        while stem.lower() in taken:
            stem += "-2"
        taken.add(stem.lower())
        stems.append(stem)
    return stems


def _plain_stem(image: str) -> str:
    """The image's name as a file name that no tool trips over: no control characters, not hidden, not too long."""
    base = image.rpartition("/")[2]
    dot = base.rfind(".")
    stem = base[:dot] if 0 < dot < len(base) - 1 else base
    if _PLAIN.fullmatch(stem):
        return stem
    stem = re.sub(r"[^\w.()+,=@ -]", "_", printable(stem)).strip(" ")
    stem = re.sub(r"^\.+", "_", stem) or "_"
    return stem.encode()[:200].decode(errors="ignore")

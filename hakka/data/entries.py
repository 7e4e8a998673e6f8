"""The entries of a dataset: of each image its scene, its split, and the name of its label file."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from hakka.boxes import Array
from hakka.data.dataset import ImageEntry
from hakka.data.earlier import Earlier
from hakka.data.findings import Finding
from hakka.data.formats.annotations import SourceImage
from hakka.data.groups import group_scans
from hakka.data.scan import Scan
from hakka.data.split import Scene, SplitParams, assign_splits, hold_splits, keep_splits
from hakka.texts import counted, printable

_MOST_LEAKS = 100  # scenes that are told one by one
_PLAIN = re.compile(r"[\w()+,=@-](?:[\w.()+,=@ -]{0,48}[\w.()+,=@-])?")  # 50 letters, 200 bytes at most
_ALL_PLAIN = re.compile(rf"{_PLAIN.pattern}(?:\0{_PLAIN.pattern})*+")


def make_entries(
    images: Sequence[SourceImage],
    scans: Mapping[str, Scan],
    labels: Array,
    starts: Sequence[int],
    params: SplitParams,
    earlier: Earlier | None = None,
) -> tuple[list[ImageEntry], str, list[Finding]]:
    """An entry for each image, in their order, and a note for each scene that a kept split tears apart.

    ``labels`` (n,) are the class indices of all boxes, those of image ``i`` from ``starts[i]`` to ``starts[i + 1]``.
    Images that ``earlier`` knows by their bytes keep its split, see ``hold_splits``; between entries and notes stands a
    sentence that says how many, empty without ``earlier``.
    """
    seen = [scans[image.image] for image in images]
    groups = list(group_scans(seen, params.near_duplicate_bits, by_name=not params.keep_source).values())
    kept = ""
    leaks: list[Finding] = []
    if params.keep_source:
        splits = keep_splits([image.split for image in images], groups, params)
        leaks = _find_leaks("the source's own split", images, splits, groups)
    else:
        known = [earlier.splits.get(scan.sha256) if earlier else None for scan in seen]
        held = hold_splits(known, groups)
        splits = _spread(groups, held, labels.astype(int).tolist(), starts, params)
        if earlier is not None:
            kept = _tell_kept(earlier, known, held)
            new = [split is None for split in known]
            leaks = _find_leaks("the earlier dataset's split", images, splits, groups, new)
    stems = make_stems([image.image for image in images], (scan.sha256 for scan in seen))
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
    return entries, kept, leaks


def _spread(
    groups: Sequence[str],
    held: Sequence[str | None],
    labels: Sequence[int],
    starts: Sequence[int],
    params: SplitParams,
) -> list[str]:
    """The split of each image: the one that holds it, or that of its scene."""
    ids = [group if split is None else f"{group} {split}" for group, split in zip(groups, held, strict=True)]
    members: dict[str, list[int]] = {}
    for i, id_ in enumerate(ids):
        members.setdefault(id_, []).append(i)
    scenes = [
        Scene(id_, len(rows), tuple(set().union(*(labels[starts[i] : starts[i + 1]] for i in rows))), held[rows[0]])
        for id_, rows in members.items()
    ]
    split_of = assign_splits(scenes, params)
    return [split_of[id_] for id_ in ids]


def _tell_kept(earlier: Earlier, known: Sequence[str | None], held: Sequence[str | None]) -> str:
    """How many of the images are those of ``earlier``, are held by a scene of theirs, or are spread."""
    stay = sum(split is not None for split in known)
    joined = sum(split is not None for split in held) - stay
    return (
        f"{counted(stay, 'photo keeps', 'photos keep')} the split of the earlier dataset {earlier.digest[:12]}, "
        f"{counted(joined, 'new one joins its scene', 'new ones join their scenes')}, "
        f"{counted(len(known) - stay - joined, 'is spread', 'are spread')}; "
        f"{counted(len(earlier.splits) - stay, 'of its photos is', 'of its photos are')} not here"
    )


def _find_leaks(
    whose: str,
    images: Sequence[SourceImage],
    splits: Sequence[str],
    groups: Sequence[str],
    new: Sequence[bool] | None = None,
) -> list[Finding]:
    """A note for each scene that is in more than one split; it names the first of its ``new`` images."""
    scenes: dict[str, dict[str, str]] = {}
    added: dict[str, list[str]] = {}
    for i, (image, split, group) in enumerate(zip(images, splits, groups, strict=True)):
        if new is None or not new[i]:
            scenes.setdefault(group, {}).setdefault(split, image.image)
        else:
            added.setdefault(group, []).append(image.image)
    notes = [
        f"{whose} leaks: near-identical photos are in {' and '.join(sorted(torn))}, such as "
        + " and ".join(torn[split] for split in sorted(torn))
        + _name_new(added.get(group, []))
        for group, torn in scenes.items()
        if len(torn) > 1
    ]
    if len(notes) > _MOST_LEAKS:
        more = len(notes) - _MOST_LEAKS
        notes = [*notes[:_MOST_LEAKS], f"{whose} tears {counted(more, 'more scene')} apart"]
    return [_note(note) for note in notes]


def _name_new(images: Sequence[str]) -> str:
    if not images:
        return ""
    more = f" and {len(images) - 1} more" if len(images) > 1 else ""
    return f"; new in this scene: {images[0]}{more}"


def _note(text: str) -> Finding:
    return Finding("note", None, None, text)


def make_stems(images: Sequence[str], digests: Iterable[str]) -> list[str]:
    """The name of each image's label file, from the images and their digests.

    It is the image's own where it is the only one, else with eight digits of the digest. Case does not tell two names
    apart, because on some file systems it does not.
    """
    plain = [_own_stem(image) for image in images]
    if not _ALL_PLAIN.fullmatch("\0".join(plain)):  # one look at all of them is faster than one at each
        plain = [_plain_stem(stem) for stem in plain]
    folded = [stem.lower() for stem in plain]
    if len(set(folded)) == len(plain):
        return plain
    count = Counter(folded)
    taken: set[str] = set()
    stems = []
    for digest, stem, key in zip(digests, plain, folded, strict=True):
        if count[key] > 1:
            stem = f"{stem}-{digest[:8]}"
        while stem.lower() in taken:
            stem += "-2"
        taken.add(stem.lower())
        stems.append(stem)
    return stems


def _own_stem(image: str) -> str:
    """The image's name without folder and suffix."""
    start, dot = image.rfind("/") + 1, image.rfind(".")
    return image[start:dot] if start < dot < len(image) - 1 else image[start:]


def _plain_stem(stem: str) -> str:
    """A stem as a file name that no tool trips over: no control characters, not hidden, not too long."""
    if _PLAIN.fullmatch(stem):
        return stem
    stem = re.sub(r"[^\w.()+,=@ -]", "_", printable(stem)).strip(" ")
    stem = re.sub(r"^\.+", "_", stem) or "_"
    return stem.encode()[:200].decode(errors="ignore")

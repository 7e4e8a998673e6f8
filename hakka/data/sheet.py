"""The contact sheet of a conversion: a few examples of each split, and the images that something was wrong with."""

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from hakka.boxes import Array, xyxy_to_cxcywh
from hakka.data.dataset import ImageEntry
from hakka.data.findings import Finding
from hakka.data.formats import Annotations, SourceImage
from hakka.data.pictures import thumbnail
from hakka.data.place import size_problem, turn
from hakka.data.scan import Scan
from hakka.data.split import SPLITS

EXAMPLES = 8  # of each split
FAULTY = 24
_SIDE = 320  # pixels
_MOST_LENGTH = 2_000_000  # letters of all pictures together
_MOST_PIXELS = 600_000_000  # of all photos that are opened for one sheet: a few seconds at worst
_LOOKED_AT = 2000  # findings; the pictures are examples
_WORKERS = 4


@dataclass(frozen=True)
class Picture:
    """One picture of the sheet: a ``data:`` URI, a title and what is to be said about it."""

    uri: str
    title: str
    text: str


@dataclass(frozen=True)
class Sheet:
    """Examples by split, and pictures of what was refused or clipped."""

    examples: dict[str, tuple[Picture, ...]]
    faulty: tuple[Picture, ...]


@dataclass(frozen=True)
class _Wanted:
    """A picture to be made: ``boxes`` is (n, 5) class, cx, cy, w, h in shares, ``pixels`` the size of the photo."""

    image: str
    boxes: Array | None
    names: Sequence[str]
    text: str
    pixels: int


def choose_pictures(
    entries: Sequence[ImageEntry],
    labels: Mapping[str, Array],
    names: Sequence[str],
    findings: Sequence[Finding],
    source: Annotations,
    scans: Mapping[str, Scan],
    root: Path,
) -> Sheet:
    """The pictures of a report, the same for the same data; a photo that is not there has none.

    ``labels`` are the converted boxes of each image as class, cx, cy, w, h in shares, ``names`` the class names by
    index. ``source`` are the annotations as the source wrote them: the boxes that were refused or clipped are drawn
    from there. Few photos are opened, at a fraction of their size.
    """
    chosen = {split: _choose_examples([entry for entry in entries if entry.split == split], labels) for split in SPLITS}
    wanted = {split: [_example(entry, labels[entry.image], names) for entry in chosen[split]] for split in SPLITS}
    wanted["faulty"] = _choose_faulty(findings, source, scans)
    made = iter(_draw([item for items in wanted.values() for item in items], root))
    sheet = {key: tuple(picture for picture in [next(made) for _ in items] if picture) for key, items in wanted.items()}
    return Sheet({split: sheet[split] for split in SPLITS}, sheet["faulty"])


def _choose_examples(entries: Sequence[ImageEntry], labels: Mapping[str, Array]) -> list[ImageEntry]:
    """A few entries that show as many classes as possible; the rest of the places go to entries at even distances."""
    if len(entries) <= EXAMPLES:
        return list(entries)
    own = [labels[entry.image][:, 0] for entry in entries]
    classes = np.concatenate(own).astype(np.int64)
    places = np.repeat(np.arange(len(entries)), [len(one) for one in own])
    width = int(classes.max(initial=0)) + 1
    places, classes = np.divmod(np.unique(places * width + classes), width)
    unseen = np.ones(width)
    chosen: list[int] = []
    while len(chosen) < EXAMPLES:
        gain = np.bincount(places, weights=unseen[classes], minlength=len(entries))
        best = int(gain.argmax())
        if gain[best] == 0:
            break
        chosen.append(best)
        unseen[classes[places == best]] = 0
    even = np.linspace(0, len(entries) - 1, EXAMPLES - len(chosen)).astype(int).tolist()
    return [entries[i] for i in sorted({*chosen, *even})]


def _example(entry: ImageEntry, boxes: Array, names: Sequence[str]) -> _Wanted:
    counts = Counter(names[int(label)] for label in boxes[:, 0])
    listed = [f"{count} {name}" for name, count in counts.most_common(6)]
    text = ", ".join(listed) + (" …" if len(counts) > len(listed) else "") if counts else "no boxes"
    return _Wanted(entry.image, boxes, names, text, entry.width * entry.height)


def _choose_faulty(findings: Sequence[Finding], source: Annotations, scans: Mapping[str, Scan]) -> list[_Wanted]:
    """Images that were refused, or that lost or changed a box: first one of each kind of reason, then the others."""
    by_image: dict[str, list[Finding]] = {}
    for finding in findings[:_LOOKED_AT]:
        if finding.kind != "note" and finding.image is not None and _is_inside(finding.image):
            by_image.setdefault(finding.image, []).append(finding)
    first: dict[str, str] = {}
    for image, own in by_image.items():
        for finding in own:
            first.setdefault(_kind_of(finding.reason.replace(image, "")), image)
    chosen = list(dict.fromkeys([*first.values(), *by_image]))[:FAULTY]
    wanted = set(chosen)
    sources = {image.image: image for image in source.images if image.image in wanted}
    return [_faulty(image, by_image[image], sources.get(image), scans.get(image), source.names) for image in chosen]


def _is_inside(image: str) -> bool:
    """False for a name that an annotation file made up to point elsewhere: its picture must not get into a report."""
    path = PurePosixPath(image)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in image


def _kind_of(reason: str) -> str:
    """A reason without its values."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|[-+.\w]*\d[-+.\w]*", "#", reason[:400])


def _faulty(
    image: str, findings: Sequence[Finding], source: SourceImage | None, scan: Scan | None, names: Sequence[str]
) -> _Wanted:
    text = f"{findings[0].kind}: {findings[0].reason}"
    if len(findings) > 1:
        text += f" (and {len(findings) - 1} more)"
    if source is None or scan is None or scan.problem is not None or size_problem(source, scan) is not None:
        return _Wanted(image, None, names, text, scan.width * scan.height if scan is not None else 0)
    places = {finding.box for finding in findings}
    rows = [i for i, place in enumerate(source.places) if place in places]
    return _Wanted(image, _upright_shares(source, scan)[rows], names, text, scan.width * scan.height)


def _upright_shares(source: SourceImage, scan: Scan) -> Array:
    """(n, 5) class, cx, cy, w, h: the boxes as the source wrote them, in shares of the upright photo, not clipped."""
    corners = source.boxes[:, 1:]
    width, height = scan.width, scan.height
    if source.unit == "shares":
        width = height = 1
    elif source.size not in (None, (width, height)):
        corners = turn(corners, scan.orientation, height, width)
    return np.concatenate([source.boxes[:, :1], xyxy_to_cxcywh(corners, width, height)], axis=1)


def _draw(wanted: Sequence[_Wanted], root: Path) -> list[Picture | None]:
    """The pictures in their order, None for one that cannot be drawn or would make the page too large."""
    left = _MOST_PIXELS
    jobs: list[_Wanted] = []
    for item in wanted:
        left -= item.pixels
        if left >= 0:
            jobs.append(item)
    with warnings.catch_warnings(), ThreadPoolExecutor(max_workers=_WORKERS) as pool:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        uris = dict(zip(map(id, jobs), pool.map(lambda job: _uri(job, root), jobs), strict=True))
    pictures = []
    length = 0
    for item in wanted:
        uri = uris.get(id(item))
        length += len(uri or "")
        kept = uri is not None and length <= _MOST_LENGTH
        pictures.append(Picture(uri, item.image, item.text) if uri is not None and kept else None)
    return pictures


def _uri(item: _Wanted, root: Path) -> str | None:
    return thumbnail(root / item.image, item.boxes, item.names, _SIDE)


def galleries(sheet: Sheet) -> Iterable[tuple[str, tuple[Picture, ...]]]:
    """Title and pictures of each part of the sheet that has any."""
    for split, pictures in sheet.examples.items():
        if pictures:
            yield f"Examples: {split}", pictures
    if sheet.faulty:
        yield "Refused or clipped", sheet.faulty

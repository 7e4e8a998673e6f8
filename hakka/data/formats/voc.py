"""Pascal VOC XML in: one file an image."""

import math
import posixpath
from collections.abc import Iterable, Iterator
from xml.etree.ElementTree import Element, ParseError, fromstring

from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import fromstring as defused  # type: ignore[import-untyped]

from hakka.data.formats.annotations import Annotations
from hakka.data.formats.gathering import Gathering, Record
from hakka.data.formats.locate import folder_split
from hakka.data.formats.reading import MIB, read_file
from hakka.data.formats.shapes import Bounds, centred_bounds, number
from hakka.data.listing import Listing
from hakka.texts import printable, short

LARGEST = 4 * MIB
_SPLITS = ("train", "val", "test")


def find_voc(listing: Listing) -> tuple[list[str], dict[str, str]]:
    """The VOC files of a source, and why each other XML file is none."""
    files, strangers = [], {}
    for name in listing.with_suffix(".xml"):
        root, reason = parse_voc(listing, name)
        if root is None:
            strangers[name] = reason
        else:
            files.append(name)
    return files, strangers


def read_voc(listing: Listing, files: Iterable[str]) -> Annotations:
    """Images, boxes and names of VOC files.

    VOC counts pixels from 1 and a box holds its last pixel, so ``xmin`` to ``xmax`` is the span from xmin - 1 to xmax;
    a tool that counts from 0 gives itself away by a 0, which is said in a note. ``robndbox`` is a rectangle turned by
    ``angle`` radians around its centre. Difficult and truncated objects are kept, their parts are not. ``size`` is the
    claim; 0 x 0 claims nothing. ``ImageSets/Main/train.txt`` and its like are the source's split.
    """
    gathering = Gathering(listing)
    splits = _splits(listing)
    files = list(files)
    for file in files:
        root, _ = parse_voc(listing, file)
        if root is not None:
            listed = splits.get(posixpath.basename(file)[: -len(".xml")])
            record = gathering.start(file, listed or folder_split(file))
            _read(gathering, file, root, record)
    return gathering.annotations("voc", files)


def parse_voc(listing: Listing, name: str) -> tuple[Element | None, str]:
    """The root of a VOC file and "", or None and the reason why the file is none.

    Nothing that a file declares is followed: a document type, an entity or a reference to elsewhere makes it unusable.
    """
    data, reason = read_file(listing.source, name, LARGEST)
    if reason:
        return None, reason
    try:
        root = _parse(data)
    except DefusedXmlException:
        return None, "not usable XML: it declares a document type or an entity"
    except (ParseError, ValueError, LookupError) as error:
        return None, f"not valid XML: {printable(' '.join(str(error).split()))[:200]}"
    if root.tag != "annotation":
        return None, f"VOC has the root element annotation, got {short(root.tag)}"
    return root, ""


def _parse(data: bytes) -> Element:
    """The root element; a document type is refused before the parser sees it.

    In every encoding that a parser accepts but UTF-16, a document type is these bytes, so that what holds neither them
    nor a zero byte cannot have one and goes the short way: defusedxml parses in Python, at a tenth of the speed.
    """
    if b"<!DOCTYPE" in data or b"\0" in data:
        root: Element = defused(data, forbid_dtd=True)
        return root
    return fromstring(data)  # noqa: S314  (see above)


def _read(gathering: Gathering, file: str, root: Element, record: Record) -> None:
    folder, filename, path = (_text(root, key) for key in ("folder", "filename", "path"))
    names = [filename, f"{folder}/{filename}" if folder and filename else "", path]
    gathering.locate(record, names, file, one_image=True)
    size = root.find("size")
    width, height = (None, None) if size is None else (_number(size, "width"), _number(size, "height"))
    if (width, height) != (0, 0):
        gathering.claim(record, width, height)
    for i, item in enumerate(root.findall("object")):
        if item.find("part") is not None:
            gathering.tally("an object has parts: they are passed over, the object is kept", record.place)
        plain, bounds = item.find("bndbox"), _bounds(item)
        if plain is not None and not isinstance(bounds, str) and -1 in bounds[:2]:
            gathering.tally("a box starts at pixel 0, VOC counts from 1: is every box one pixel off?", record.place)
        gathering.add(record, i, "object", _text(item, "name"), bounds)
    gathering.finish(record)


def _bounds(item: Element) -> Bounds | str:
    plain, turned = item.find("bndbox"), item.find("robndbox")
    if plain is not None:
        sides = _numbers(plain, "xmin", "ymin", "xmax", "ymax")
        return sides if isinstance(sides, str) else (sides[0] - 1, sides[1] - 1, sides[2], sides[3])
    if turned is None:
        return "needs a bndbox or a robndbox"
    sides = _numbers(turned, "cx", "cy", "w", "h", "angle")
    if isinstance(sides, str):
        return sides
    x, y, width, height, angle = sides
    if width <= 0 or height <= 0:
        return f"w and h must be > 0, got {width:g} and {height:g}"
    return centred_bounds(x, y, width, height, math.remainder(angle, math.tau))


def _numbers(box: Element, *keys: str) -> list[float] | str:
    sides = [_number(box, key) for key in keys]
    found = [side for side in sides if isinstance(side, float)]
    return found if len(found) == len(keys) else f"{', '.join(keys)} must be finite numbers, got {short(sides)}"


def _text(parent: Element, key: str) -> str:
    return (parent.findtext(key) or "").strip()


def _number(parent: Element, key: str) -> float | str | None:
    """The number in a child; its text if it is none, None if the child is missing."""
    text = parent.findtext(key)
    try:
        value = None if text is None else number(float(text))
    except ValueError:
        return text
    return text if value is None else value


def _splits(listing: Listing) -> dict[str, str]:
    """Stem → split, of the image lists that VOC keeps; a stem in two lists has none."""
    splits: dict[str, str] = {}
    for split in _SPLITS:
        for stem in _stems(listing, split):
            splits[stem] = split if splits.get(stem, split) == split else ""
    return {stem: split for stem, split in splits.items() if split}


def _stems(listing: Listing, split: str) -> Iterator[str]:
    for name in listing.files:
        if f"/{name}".endswith(f"/ImageSets/Main/{split}.txt"):
            data, _ = read_file(listing.source, name, LARGEST)
            yield from (line.split()[0] for line in data.decode("utf-8-sig", "replace").splitlines() if line.split())

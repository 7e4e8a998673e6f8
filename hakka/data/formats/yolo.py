"""YOLO in: ``data.yaml`` with the names at the top, ``images/`` beside ``labels/``."""

import math
from dataclasses import dataclass, field

import numpy as np

from hakka.boxes import Array
from hakka.data.findings import Finding, refuse_box, refuse_image
from hakka.data.formats.annotations import Annotations, SourceImage
from hakka.data.formats.data_yaml import read_data_yaml
from hakka.data.formats.reading import MIB, read_file
from hakka.data.listing import Listing
from hakka.texts import is_text, printable, short

LARGEST = 16 * MIB  # bytes of one label file


def find_yolo(listing: Listing) -> str | None:
    """The name of the file that holds the class names, if the source has one."""
    return next((name for name in ("data.yaml", "data.yml", "dataset.yaml") if name in listing.files), None)


def count_yolo(listing: Listing) -> int:
    """The images that have a label file."""
    files = frozenset(listing.files)
    return sum(_label_file(image) in files for image in listing.images)


def read_yolo(listing: Listing, data_yaml: str) -> Annotations:
    """Every image of the source with the label file that belongs to it; an image without one is background.

    The label file of ``…/images/…/x.jpg`` is ``…/labels/…/x.txt`` (the last folder named images counts); an image that
    is in no such folder has its label file beside it. A line is ``class cx cy w h`` or ``class x1 y1 x2 y2 x3 y3 …`` (a
    polygon or a turned box, whose bounds are taken), in shares (0–1) of the sides. The split is the one that
    ``data.yaml`` names by folder or by list of images.

    Raises:
        InvalidInput: ``data.yaml`` is no YAML or holds no class names.
    """
    names, splits = read_data_yaml(listing, data_yaml)
    result = _Gathered(frozenset(listing.files))
    owners: dict[str, str] = {}
    for image in listing.images:
        label_file = _label_file(image)
        if not is_text(image):
            result.findings.append(refuse_image(printable(image), "the path must be valid UTF-8", 0))
        elif label_file in owners:
            reason = f"shares its label file {label_file} with {owners[label_file]}"
            result.findings.append(refuse_image(image, reason, 0))
        else:
            owners[label_file] = image
            _read_image(listing, image, label_file, len(names), splits.of(image), result)
    _refuse_orphans(listing, owners, result)
    return Annotations(
        format="yolo",
        files=(data_yaml,),
        names=names,
        images=tuple(result.images),
        images_found=len(listing.images),
        boxes_found=result.boxes_found,
        findings=tuple(result.findings),
    )


@dataclass
class _Gathered:
    files: frozenset[str]
    images: list[SourceImage] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    boxes_found: int = 0


def _label_file(image: str) -> str:
    parts = image.rsplit(".", 1)[0].split("/")
    for i in range(len(parts) - 2, -1, -1):
        if parts[i] == "images":
            parts[i] = "labels"
            break
    return "/".join(parts) + ".txt"


def _read_image(
    listing: Listing, image: str, label_file: str, classes: int, split: str | None, result: _Gathered
) -> None:
    lines, reason = _lines(listing, label_file) if label_file in result.files else ([], "")
    if reason:
        result.findings.append(refuse_image(image, f"its label file {label_file}: {reason}", 0))
        return
    boxes: list[tuple[float, ...]] = []
    places: list[int] = []
    for place, line in lines:
        result.boxes_found += 1
        box = _read_line(line, classes)
        if isinstance(box, str):
            result.findings.append(refuse_box(image, place, f"line {place + 1} of {label_file}: {box}"))
        else:
            boxes.append(box)
            places.append(place)
    array: Array = np.array(boxes, dtype=float).reshape(-1, 5)
    result.images.append(SourceImage(image, None, array, tuple(places), "shares", split))


def _lines(listing: Listing, label_file: str) -> tuple[list[tuple[int, str]], str]:
    """The lines that are not blank with their places, and the reason if the file cannot be read."""
    data, reason = read_file(listing.source, label_file, LARGEST)
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = data.decode("utf-16" if wide else "utf-8-sig", "backslashreplace")
    return [(place, line) for place, line in enumerate(text.splitlines()) if line.strip()], reason


def _read_line(line: str, classes: int) -> tuple[float, ...] | str:
    """Class index, left, top, right, bottom in shares; or the reason why the line is refused."""
    words = line.split()
    if len(words) != 5 and (len(words) < 7 or len(words) % 2 == 0):
        return f"must be class cx cy w h, or a class and 3 or more points, got {len(words)} words"
    numbers = [_finite(word) for word in words]
    label, *shares = (math.nan if number is None else number for number in numbers)
    if None in numbers:
        return f"must hold finite numbers, got {short(line)}"
    if label != int(label) or not 0 <= label < classes:
        return f"class must be a whole number from 0 to {classes - 1}, got {short(words[0])}"
    if len(shares) == 4:
        x, y, width, height = shares
        corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    else:
        corners = (min(shares[::2]), min(shares[1::2]), max(shares[::2]), max(shares[1::2]))
    if corners[2] <= corners[0] or corners[3] <= corners[1]:
        return f"width and height must be > 0, got {short(line)}"
    return label, *corners


def _finite(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if abs(value) < 1e6 else None


def _refuse_orphans(listing: Listing, owners: dict[str, str], result: _Gathered) -> None:
    """Label files that belong to no image: every line in them is a box that was found and refused."""
    for name in listing.with_suffix(".txt"):
        if "labels" in name.split("/")[:-1] and name not in owners:
            lines, _ = _lines(listing, name)
            for place, _ in lines:
                result.boxes_found += 1
                reason = f"line {place + 1} of {printable(name)}: orphan: no image belongs to this label file"
                result.findings.append(refuse_box(None, place, reason))

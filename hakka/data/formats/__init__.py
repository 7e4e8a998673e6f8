"""Annotation formats in. ``read_annotations`` finds out which one a folder holds and reads it."""

from pathlib import Path

from hakka.data.formats.annotations import Annotations, SourceImage
from hakka.data.formats.coco import find_coco, read_coco
from hakka.data.formats.yolo import find_yolo, read_yolo
from hakka.data.listing import Listing, list_source
from hakka.errors import InvalidInput

FORMATS = ("auto", "coco", "yolo")

__all__ = ["FORMATS", "Annotations", "SourceImage", "read_annotations"]


def read_annotations(source: Path, format: str = "auto", *, exclude: Path | None = None) -> Annotations:  # noqa: A002
    """The images, boxes and class names of a source folder, and what had to be refused.

    ``auto`` takes COCO JSON if there is any, else YOLO (``data.yaml`` at the top of the folder).

    Raises:
        InvalidInput: the folder is missing or empty, holds no annotation file, or not one of the wanted format.
    """
    if format not in FORMATS:
        raise InvalidInput(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
    listing = list_source(source, exclude=exclude)
    if format in ("auto", "coco"):
        found = find_coco(listing)
        if found.files:
            return read_coco(listing, found)
        if format == "coco":
            raise InvalidInput(f"{source}: no COCO annotation file; {_holdings(listing, found.strangers)}")
        if found.strangers and find_yolo(listing) is None:
            name, reason = next(iter(found.strangers.items()))
            raise InvalidInput(f"{source / name}: not an annotation file: {reason}")
    data_yaml = find_yolo(listing)
    if data_yaml is None:
        raise InvalidInput(f"{source}: no annotation file (COCO JSON, or a YOLO data.yaml); {_holdings(listing, {})}")
    return read_yolo(listing, data_yaml)


def _holdings(listing: Listing, strangers: dict[str, str]) -> str:
    text = f"the folder holds {len(listing.images)} images and {len(listing.files)} files in all"
    for name, reason in list(strangers.items())[:1]:
        text += f"; {name}: {reason}"
    return text

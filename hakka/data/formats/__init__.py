"""Annotation formats in. ``read_annotations`` finds out which one a folder holds and reads it."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hakka.data.findings import Finding
from hakka.data.formats.annotations import Annotations, SourceImage
from hakka.data.formats.coco import find_coco, read_coco
from hakka.data.formats.documents import Documents
from hakka.data.formats.labelme import read_labelme
from hakka.data.formats.labelstudio import read_labelstudio
from hakka.data.formats.via import read_via
from hakka.data.formats.voc import find_voc, read_voc
from hakka.data.formats.yolo import count_yolo, find_yolo, read_yolo
from hakka.data.listing import Listing, list_source
from hakka.errors import InvalidInput
from hakka.texts import printable, short

TITLES = {
    "coco": "COCO JSON",
    "yolo": "YOLO (data.yaml)",
    "labelme": "LabelMe JSON",
    "via": "VGG Image Annotator JSON",
    "labelstudio": "Label Studio JSON",
    "voc": "Pascal VOC XML",
}
FORMATS = ("auto", *TITLES)
DocumentReader = Callable[[Listing, Iterable[tuple[str, Any]]], Annotations]
DOCUMENTS: dict[str, DocumentReader] = {"labelme": read_labelme, "via": read_via, "labelstudio": read_labelstudio}
_MOST_NOTES = 20

__all__ = ["FORMATS", "Annotations", "SourceImage", "read_annotations"]


@dataclass(frozen=True)
class _Candidate:
    """One format that the source holds: its files, how many images they list, and how to read them."""

    files: list[str]
    images: int
    read: Callable[[], Annotations]


def read_annotations(
    source: Path,
    format: str = "auto",  # noqa: A002
    *,
    exclude: Path | None = None,
    attribute: str | None = None,
) -> Annotations:
    """The images, boxes and class names of a source folder, and what had to be refused.

    ``auto`` looks into the files and takes COCO if there is any, else the format that lists the most images (of equal
    ones the first in ``FORMATS``). Formats are never mixed: a note says what was passed over. ``attribute`` of a VIA
    region is its class (``read_via`` says which it is without).

    Raises:
        InvalidInput: the folder is missing or empty, holds no annotation file, or not one of the wanted format, or an
            ``attribute`` is given for another one than VIA.
    """
    if format not in FORMATS:
        raise InvalidInput(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
    listing = list_source(source, exclude=exclude)
    candidates, strangers = _look(listing, TITLES if format == "auto" else (format,), attribute)
    if not candidates or format not in ("auto", *candidates):
        raise InvalidInput(_nothing(listing, format, strangers))
    chosen = format
    if format == "auto":
        chosen = "coco" if "coco" in candidates else max(candidates, key=lambda name: candidates[name].images)
    if attribute and chosen != "via":
        raise InvalidInput(
            f"{source}: attribute {short(attribute)}: only regions of VIA have attributes, this is {TITLES[chosen]}"
        )
    annotations = candidates[chosen].read()
    notes = [
        f"{_several(other.files)}: passed over: the source is read as {TITLES[chosen]}, not as {TITLES[name]}"
        for name, other in candidates.items()
        if name != chosen
    ]
    notes += [f"{printable(name)}: passed over: {reason}" for name, reason in list(strangers.items())[:_MOST_NOTES]]
    if len(strangers) > _MOST_NOTES:
        notes.append(f"{len(strangers) - _MOST_NOTES} more files that are no annotations are passed over")
    findings = annotations.findings + tuple(Finding("note", None, None, note) for note in notes)
    return replace(annotations, findings=findings)


def _look(
    listing: Listing, wanted: Collection[str], attribute: str | None
) -> tuple[dict[str, _Candidate], dict[str, str]]:
    """The formats that the source holds, at least those of ``wanted``, and why other JSON and XML files are none."""
    candidates: dict[str, _Candidate] = {}
    names: Iterable[str] = listing.with_suffix(".json")
    strangers: dict[str, str] = {}
    if "coco" in wanted:
        coco = find_coco(listing)
        names, strangers = coco.strangers, dict(coco.strangers)
        quiet = replace(coco, strangers={})  # what is no COCO may be of another format; it is told here
        candidates["coco"] = _Candidate(list(coco.files), 0, partial(read_coco, listing, quiet))
    if "yolo" in wanted and (data_yaml := find_yolo(listing)) is not None:
        candidates["yolo"] = _Candidate([data_yaml], count_yolo(listing), partial(read_yolo, listing, data_yaml))
    if not DOCUMENTS.keys().isdisjoint(wanted):
        documents = Documents(listing, names)
        strangers = {name: strangers.get(name, reason) for name, reason in documents.strangers.items()}
        for name, read in (DOCUMENTS | {"via": partial(read_via, attribute=attribute)}).items():
            candidates[name] = _document(listing, documents, name, read)
    if "voc" in wanted:
        files, others = find_voc(listing)
        strangers |= others
        candidates["voc"] = _Candidate(files, len(files), partial(read_voc, listing, files))
    return {name: item for name, item in candidates.items() if item.files}, strangers


def _document(listing: Listing, documents: Documents, name: str, read: DocumentReader) -> _Candidate:
    return _Candidate(documents.files[name], documents.images[name], lambda: read(listing, documents.read(name)))


def _nothing(listing: Listing, format: str, strangers: dict[str, str]) -> str:  # noqa: A002
    if format == "auto" and strangers:
        name, reason = next(iter(strangers.items()))
        return f"{listing.source / name}: not an annotation file: {reason}"
    what = f"no annotation file ({', '.join(TITLES.values())})" if format == "auto" else f"no {TITLES[format]}"
    text = (
        f"{listing.source}: {what}; the folder holds {len(listing.images)} images and {len(listing.files)} files in all"
    )
    return text + "".join(f"; {name}: {reason}" for name, reason in list(strangers.items())[:1])


def _several(files: list[str]) -> str:
    return printable(files[0]) + (f" and {len(files) - 1} more" if len(files) > 1 else "")

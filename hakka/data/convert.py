"""Convert: a folder with photos and annotations becomes a dataset, and every image and box is accounted for."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from hakka.boxes import Array, xyxy_to_cxcywh
from hakka.data.dataset import ImageEntry, write_dataset
from hakka.data.findings import Finding, printable, refuse_image
from hakka.data.formats import Annotations, SourceImage, read_annotations
from hakka.data.groups import group_scans
from hakka.data.place import Placed, place_boxes, size_problem
from hakka.data.report import make_report, render_report
from hakka.data.scan import Scan, scan_images
from hakka.data.split import Scene, SplitParams, assign_splits
from hakka.errors import InvalidInput, Unavailable
from hakka.files import whole_folder, write_json

Progress = Callable[[int, int], None]


def convert(
    source: Path,
    out: Path,
    *,
    format: str = "auto",  # noqa: A002
    params: SplitParams = SplitParams(),  # noqa: B008  (frozen)
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the dataset of ``source`` to ``out`` and return its report (the content of ``out/report.json``).

    The folder appears whole or not at all, and the same source and params give the same bytes. ``progress`` is called
    with (images looked at, images in all).

    Raises:
        InvalidInput: no annotations, no usable image, or ``out`` is a folder that is not a dataset.
        Unavailable: ``out`` cannot be written.
    """
    source, out = Path(source), Path(out)
    _check_out(source, out)
    annotations = read_annotations(source, format, exclude=out)
    scans = scan_images(source, [image.image for image in annotations.images], progress)
    usable, findings = _sort_out(annotations, scans)
    if not usable:
        first = next((finding.reason for finding in findings if finding.kind == "refused"), "there are none")
        raise InvalidInput(f"{source}: none of {annotations.images_found} images can be converted; the first: {first}")
    placed = {image.image: place_boxes(image, scans[image.image]) for image in usable}
    findings += [finding for image in usable for finding in placed[image.image].findings]
    entries = _make_entries(usable, scans, placed, params)
    about = {
        "source": {"format": annotations.format, "annotations": list(annotations.files)},
        "split": {"val": params.val, "test": params.test, "seed": params.seed, "bits": params.near_duplicate_bits},
    }
    labels = Counter(annotations.names[int(label)] for item in placed.values() for label in item.boxes[:, 0])
    report = make_report(annotations, entries, findings, labels)
    labelled = [(entry, _shares(entry, placed[entry.image])) for entry in entries]
    try:
        with whole_folder(out) as folder:
            write_dataset(folder, annotations.names, labelled, about)
            write_json(folder / "report.json", report)
            (folder / "report.html").write_text(render_report(report))
    except OSError as error:
        raise Unavailable(f"{out}: the dataset cannot be written: {error.strerror or error}") from None
    return report


def _check_out(source: Path, out: Path) -> None:
    if source.resolve() == out.resolve() or out.resolve() in source.resolve().parents:
        raise InvalidInput(f"{out}: the dataset must not replace the folder that holds the data ({source})")
    if out.is_dir() and any(out.iterdir()) and not (out / "dataset.json").is_file():
        raise InvalidInput(f"{out}: will not replace a folder that is not a dataset of Hakka's")
    if out.exists() and not out.is_dir():
        raise InvalidInput(f"{out}: the dataset must be a folder, got a file")


def _sort_out(annotations: Annotations, scans: dict[str, Scan]) -> tuple[list[SourceImage], list[Finding]]:
    """The images that can be converted, sorted by name, and a finding for each that cannot.

    Of images with the same bytes the one that the source lists first is kept.
    """
    usable: list[SourceImage] = []
    findings = list(annotations.findings)
    first: dict[str, SourceImage] = {}
    for image in annotations.images:
        scan = scans[image.image]
        problem = scan.problem or size_problem(image, scan)
        if problem is None and scan.sha256 in first:
            problem = _duplicate(image, first[scan.sha256])
        if problem is None:
            first[scan.sha256] = image
            usable.append(image)
        else:
            findings.append(refuse_image(image.image, f"{image.image}: {problem}", len(image.boxes)))
    return sorted(usable, key=lambda image: image.image), findings


def _duplicate(image: SourceImage, first: SourceImage) -> str:
    same = sorted(image.boxes.tolist()) == sorted(first.boxes.tolist())
    return f"has the same bytes as {first.image} " + (
        "and the same boxes" if same else "but other boxes: which are right?"
    )


def _make_entries(
    images: Sequence[SourceImage], scans: dict[str, Scan], placed: dict[str, Placed], params: SplitParams
) -> list[ImageEntry]:
    groups = group_scans([scans[image.image] for image in images], params.near_duplicate_bits)
    split_of = assign_splits(_scenes(groups, placed), params)
    stems = _stems(images, scans)
    return [
        ImageEntry(
            image=image.image,
            stem=stems[image.image],
            sha256=scans[image.image].sha256,
            bytes=scans[image.image].length,
            width=scans[image.image].width,
            height=scans[image.image].height,
            split=split_of[groups[image.image]],
            boxes=len(placed[image.image].boxes),
            group=groups[image.image],
        )
        for image in images
    ]


def _scenes(groups: dict[str, str], placed: dict[str, Placed]) -> list[Scene]:
    images: dict[str, list[str]] = {}
    for image, group in groups.items():
        images.setdefault(group, []).append(image)
    return [
        Scene(group, len(members), frozenset(int(label) for member in members for label in placed[member].boxes[:, 0]))
        for group, members in images.items()
    ]


def _stems(images: Sequence[SourceImage], scans: dict[str, Scan]) -> dict[str, str]:
    """Image → name of its label file: the image's own where it is the only one, else with eight digits of its digest.

    Case does not tell two names apart, because on some file systems it does not.
    """
    plain = {image.image: _plain_stem(image.image) for image in images}
    count = Counter(stem.lower() for stem in plain.values())
    taken: set[str] = set()
    stems = {}
    for image, stem in plain.items():
        if count[stem.lower()] > 1:
            stem = f"{stem}-{scans[image].sha256[:8]}"
        while stem.lower() in taken:
            stem += "-2"
        taken.add(stem.lower())
        stems[image] = stem
    return stems


def _plain_stem(image: str) -> str:
    """The image's name as a file name that no tool trips over: no control characters, not hidden, not too long."""
    stem = re.sub(r"[^\w.()+,=@ -]", "_", printable(PurePosixPath(image).stem)).strip(" ")
    stem = re.sub(r"^\.+", "_", stem) or "_"
    return stem.encode()[:200].decode(errors="ignore")


def _shares(entry: ImageEntry, placed: Placed) -> Array:
    """The boxes as (n, 5) class, cx, cy, w, h in shares, in the order of the source."""
    boxes = placed.boxes.copy()
    boxes[:, 1:] = xyxy_to_cxcywh(boxes[:, 1:], entry.width, entry.height)
    return boxes

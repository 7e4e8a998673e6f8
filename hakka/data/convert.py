"""Convert: a folder with photos and annotations becomes a dataset, and every image and box is accounted for."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from hakka.data.classes import apply_class_map, find_class_map, read_class_map
from hakka.data.collector import collector_paused
from hakka.data.dataset import is_dataset_folder, write_dataset, write_root
from hakka.data.earlier import Earlier, read_earlier
from hakka.data.entries import make_entries
from hakka.data.findings import Finding, refuse_image
from hakka.data.formats import Annotations, SourceImage, read_annotations
from hakka.data.metadata import metadata_notes, read_metadata
from hakka.data.place import place_boxes, size_problem
from hakka.data.report import make_report, render_report
from hakka.data.scan import Scan, scan_images
from hakka.data.sheet import choose_pictures
from hakka.data.split import SplitParams
from hakka.errors import InvalidInput, Unavailable
from hakka.files import real_path, whole_folder, write_json

Progress = Callable[[int, int], None]


def convert(
    source: Path,
    out: Path,
    *,
    format: str = "auto",  # noqa: A002
    params: SplitParams = SplitParams(),  # noqa: B008  (frozen)
    classes: Path | None = None,
    earlier: Path | None = None,
    scans: Mapping[str, Scan] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the dataset of ``source`` to ``out`` and return its report (the content of ``out/report.json``).

    The folder appears whole or not at all, and the same source, params and ``earlier`` give the same bytes. ``classes``
    is a class map, by default the ``classes.yaml`` of the source. ``earlier`` is a dataset of an earlier version of the
    source, whose photos keep their split (``hakka.data.split.hold_splits``); it may be ``out`` itself. ``scans`` (by
    image) stand for the look at the images; without them every image is decoded, and ``progress`` is called with
    (images looked at, images in all).

    Raises:
        InvalidInput: no annotations, no usable image, an image that the scans lack, a ``metadata.csv`` that cannot be
            read, ``earlier`` is no dataset or comes with ``keep_source``, or ``out`` is a folder that is not a dataset.
        Unavailable: ``out`` cannot be written.
    """
    source, out = Path(source), Path(out)
    out = real_path(out) if out.is_symlink() else out  # the link stays, and its place is written
    _check_out(source, out)
    if earlier is not None and params.keep_source:
        raise InvalidInput(f"{earlier}: either the splits of an earlier dataset are kept or the source's own, got both")
    before = None if earlier is None else read_earlier(earlier)
    class_file = classes if classes is not None else find_class_map(source)
    class_map = None if class_file is None else read_class_map(class_file)
    read = read_annotations(source, format, exclude=out, attribute=class_map.attribute if class_map else None)
    annotations = apply_class_map(read, class_map)
    read_metadata(source)  # one that cannot be read is said before the photos are looked at
    scans = _look(source, annotations, scans, progress)
    return _write(source, out, read, annotations, scans, params, before)


@collector_paused()
def _write(
    source: Path,
    out: Path,
    read: Annotations,
    annotations: Annotations,
    scans: Mapping[str, Scan],
    params: SplitParams,
    before: Earlier | None,
) -> dict[str, Any]:
    """Write the dataset of ``annotations``, which are ``read`` under their final class names; gives its report."""
    usable, findings = _sort_out(annotations, scans)
    if not usable:
        first = next((finding.reason for finding in findings if finding.kind == "refused"), "there are none")
        raise InvalidInput(f"{source}: none of {annotations.images_found} images can be converted; the first: {first}")
    placed = place_boxes(usable, scans)
    entries, kept, leaks = make_entries(usable, scans, placed.boxes[:, 0], placed.starts, params, before)
    notes = [*([kept] if kept else []), *metadata_notes(source, (entry.image for entry in entries))]
    findings += [*placed.findings, *(Finding("note", None, None, note) for note in notes), *leaks]
    labels = {entry.image: placed.boxes[i:j] for entry, (i, j) in zip(entries, pairwise(placed.starts), strict=True)}
    source_of = {"format": annotations.format, "annotations": list(annotations.files)}
    about = {"source": source_of, "split": params.about(), **({"earlier": before.digest} if before else {})}
    report = make_report(annotations, entries, findings, labels) | ({"kept_splits": kept} if kept else {})
    sheet = choose_pictures(entries, labels, annotations.names, findings, read, scans, source)
    try:
        with whole_folder(out) as folder:
            write_dataset(folder, annotations.names, entries, placed.boxes, placed.starts, about)
            write_root(folder, out, source)
            write_json(folder / "report.json", report)
            (folder / "report.html").write_text(render_report(report, sheet))
    except OSError as error:
        raise Unavailable(f"{out}: the dataset cannot be written: {error.strerror or error}") from None
    return report


def _look(
    source: Path, annotations: Annotations, scans: Mapping[str, Scan] | None, progress: Progress | None
) -> Mapping[str, Scan]:
    """A scan of every image: those given, or one look at each."""
    names = [image.image for image in annotations.images]
    if scans is None:
        return scan_images(source, names, progress)
    missing = next((name for name in names if name not in scans), None)
    if missing is not None:
        raise InvalidInput(f"{source / missing}: the scans must cover every image, this one is not among them")
    return scans


def _check_out(source: Path, out: Path) -> None:
    data, target = real_path(source), real_path(out)
    if target == data or target in data.parents:
        raise InvalidInput(f"{out}: the dataset must not replace the folder that holds the data ({source})")
    if out.is_dir() and any(out.iterdir()) and not is_dataset_folder(out):
        raise InvalidInput(f"{out}: will not replace a folder that is not a dataset of Hakka's")
    if out.exists() and not out.is_dir():
        raise InvalidInput(f"{out}: the dataset must be a folder, got a file")


def _sort_out(annotations: Annotations, scans: Mapping[str, Scan]) -> tuple[list[SourceImage], list[Finding]]:
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

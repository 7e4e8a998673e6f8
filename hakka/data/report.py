"""The account of a conversion: counts that add up, and a sentence for everything that did not go through unchanged."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hakka.boxes import Array
from hakka.data.dataset import ImageEntry
from hakka.data.findings import Finding
from hakka.data.formats import Annotations
from hakka.data.page import bars, gallery, heading, page, paragraph, table
from hakka.data.sheet import Sheet, galleries
from hakka.data.split import SPLITS

FILES = 20  # annotation files that the page names


def make_report(
    annotations: Annotations,
    entries: Sequence[ImageEntry],
    findings: Sequence[Finding],
    labels: Mapping[str, Array],
) -> dict[str, Any]:
    """The content of ``report.json``; ``labels`` are the converted boxes of each image, (n, 5) with the class first.

    Raises:
        RuntimeError: the counts do not add up, which is a fault of Hakka and never of the data.
    """
    splits = {split: _split_counts(split, entries, labels, annotations.names) for split in SPLITS}
    refused = [finding for finding in findings if finding.kind == "refused"]
    report: dict[str, Any] = {
        "format": annotations.format,
        "annotations": list(annotations.files),
        "images": {
            "found": annotations.images_found,
            "converted": len(entries),
            "refused": sum(finding.box is None for finding in refused),
        },
        "boxes": {
            "found": annotations.boxes_found,
            "converted": sum(entry.boxes for entry in entries),
            "clipped": sum(finding.boxes for finding in findings if finding.kind == "clipped"),
            "refused": sum(finding.boxes for finding in refused),
            "dropped": sum(finding.boxes for finding in findings if finding.kind == "dropped"),
        },
        "splits": splits,
        "classes": {name: sum(split["classes"][name] for split in splits.values()) for name in annotations.names},
        "findings": [finding.to_json() for finding in findings],
    }
    for what in ("images", "boxes"):
        counts = report[what]
        if counts["converted"] + counts["refused"] + counts.get("dropped", 0) != counts["found"]:
            raise RuntimeError(f"the {what} of the report do not add up: {counts}")
    return report


def render_report(report: dict[str, Any], sheet: Sheet) -> str:
    """``report.html`` of a report with its pictures: one file of at most 3 MB, whatever the data."""
    images, boxes = report["images"], report["boxes"]
    files = report["annotations"]
    more = f" and {len(files) - FILES} more" if len(files) > FILES else ""
    body = [
        paragraph(f"Read as {report['format']} from {', '.join(files[:FILES])}{more}."),
        table(
            ["", "found", "converted", "of these clipped", "refused", "dropped"],
            [
                ["images", images["found"], images["converted"], None, images["refused"], None],
                ["boxes", *(boxes[key] for key in ("found", "converted", "clipped", "refused", "dropped"))],
            ],
        ),
        heading("Splits"),
        table(
            ["split", "images", "boxes", "scenes"],
            [
                [split, *(counts[key] for key in ("images", "boxes", "scenes"))]
                for split, counts in report["splits"].items()
            ],
        ),
        heading("Boxes of each class"),
        bars(SPLITS, _class_rows(report), "class"),
    ]
    for title, pictures in galleries(sheet):
        body += [heading(title), gallery([(picture.uri, picture.title, picture.text) for picture in pictures])]
    body += [
        heading("Findings"),
        table(
            ["kind", "image", "box", "reason"],
            [[item["kind"], item["image"], item["box"], item["reason"]] for item in report["findings"]],
        ),
    ]
    return page("Hakka: conversion report", body)


def _class_rows(report: dict[str, Any]) -> list[tuple[str, dict[str, int]]]:
    """Class name and its boxes in each split, the most frequent class first."""
    rows = [
        (name, {split: counts["classes"][name] for split, counts in report["splits"].items()})
        for name in report["classes"]
    ]
    return sorted(rows, key=lambda row: -sum(row[1].values()))


def _split_counts(
    split: str, entries: Sequence[ImageEntry], labels: Mapping[str, Array], names: Sequence[str]
) -> dict[str, Any]:
    members = [entry for entry in entries if entry.split == split]
    classes = np.concatenate([np.zeros(0), *(labels[entry.image][:, 0] for entry in members)]).astype(np.int64)
    return {
        "images": len(members),
        "boxes": sum(entry.boxes for entry in members),
        "scenes": len({entry.group for entry in members}),
        "classes": dict(zip(names, np.bincount(classes, minlength=len(names)).tolist(), strict=True)),
    }

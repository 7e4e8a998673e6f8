"""The account of a conversion: counts that add up, and a sentence for everything that did not go through unchanged."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from hakka.data.dataset import ImageEntry
from hakka.data.findings import Finding
from hakka.data.formats import Annotations
from hakka.data.page import heading, page, paragraph, table
from hakka.data.split import SPLITS


def make_report(
    annotations: Annotations, entries: Sequence[ImageEntry], findings: Sequence[Finding], labels: Counter[str]
) -> dict[str, Any]:
    """The content of ``report.json``; ``labels`` counts the converted boxes of each class name.

    Raises:
        RuntimeError: the counts do not add up, which is a fault of Hakka and never of the data.
    """
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
        },
        "splits": {split: _split_counts(entries, split) for split in SPLITS},
        "classes": {name: labels[name] for name in annotations.names},
        "findings": [finding.to_json() for finding in findings],
    }
    for what in ("images", "boxes"):
        counts = report[what]
        if counts["converted"] + counts["refused"] != counts["found"]:
            raise RuntimeError(f"the {what} of the report do not add up: {counts}")
    return report


def render_report(report: dict[str, Any]) -> str:
    """``report.html`` of a report."""
    images, boxes = report["images"], report["boxes"]
    body = [
        paragraph(f"Read as {report['format']} from {', '.join(report['annotations'])}."),
        table(
            ["", "found", "converted", "of these clipped", "refused"],
            [
                ["images", images["found"], images["converted"], None, images["refused"]],
                ["boxes", boxes["found"], boxes["converted"], boxes["clipped"], boxes["refused"]],
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
        heading("Classes"),
        table(["class", "boxes"], sorted(report["classes"].items(), key=lambda item: -item[1])),
        heading("Findings"),
        table(
            ["kind", "image", "box", "reason"],
            [[item["kind"], item["image"], item["box"], item["reason"]] for item in report["findings"]],
        ),
    ]
    return page("Hakka: conversion report", body)


def _split_counts(entries: Sequence[ImageEntry], split: str) -> dict[str, int]:
    members = [entry for entry in entries if entry.split == split]
    return {
        "images": len(members),
        "boxes": sum(entry.boxes for entry in members),
        "scenes": len({entry.group for entry in members}),
    }

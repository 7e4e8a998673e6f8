"""``hakka sample | convert | export-data | validate``."""

import argparse
from pathlib import Path
from typing import Any

from hakka.params import read_section
from hakka.texts import counted, visible
from hakka.verbs.shared import Verbs, add_json, add_verb, print_json, progress_line

SHOWN = 10
_LONGEST = 400  # letters of a finding on the terminal; the report has all
_DATA_HELP = "folder of the photos (default: the one that the dataset was converted from)"


def add_verbs(verbs: Verbs) -> None:
    """Add the verbs of the data."""
    sample = add_verb(verbs, "sample", run_sample, "draw the sample data anew", "hakka sample --out sample")
    sample.add_argument(
        "--out", type=Path, default=Path("sample"), metavar="DIR", help="folder to write (default: sample)"
    )
    sample.add_argument("--images", type=int, default=236, metavar="N", help="scenes (default: 236)")
    sample.add_argument("--seed", type=int, default=2026, metavar="N", help="same seed, same bytes (default: 2026)")
    sample.add_argument("--size", type=int, default=416, metavar="N", help="side in pixels (default: 416)")
    sample.add_argument(
        "--backgrounds", metavar="A,B", help="families of table tops (default: those of the sample; see SOURCE.md)"
    )
    sample.add_argument("--clean", action="store_true", help="without the faulty entries")
    add_json(sample)

    convert = add_verb(
        verbs,
        "convert",
        run_convert,
        "make a dataset of photos and annotations",
        "hakka convert sample --out build/dataset   "
        "(or: hakka convert photos --out build/dataset-2 --keep-splits build/dataset)",
    )
    convert.add_argument("source", type=Path, metavar="SRC", help="folder of photos and annotation files")
    convert.add_argument("--out", type=Path, required=True, metavar="DST", help="dataset folder to write")
    convert.add_argument(
        "--format",
        default="auto",
        metavar="F",
        help="auto, coco, yolo, labelme, via, labelstudio or voc (default: auto)",
    )
    convert.add_argument(
        "--classes",
        type=Path,
        metavar="FILE",
        help="class names and their aliases (default: SRC/classes.yaml if there)",
    )
    splits = convert.add_mutually_exclusive_group()
    splits.add_argument(
        "--keep-splits",
        type=Path,
        metavar="DATASET",
        help="dataset of an earlier version of the data, whose photos stay in their split; may be DST itself",
    )
    splits.add_argument(
        "--keep-source-split", action="store_true", help="keep the train, val and test of the source where it has them"
    )
    add_json(convert)

    export = add_verb(
        verbs,
        "export-data",
        run_export_data,
        "write a dataset as COCO JSON",
        "hakka export-data build/dataset --data sample --out build/coco.json",
    )
    export.add_argument("dataset", type=Path, metavar="DATASET", help="folder that `hakka convert` wrote")
    export.add_argument("--data", type=Path, metavar="SRC", help=_DATA_HELP)
    export.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="JSON file to write, a folder with --per-split"
    )
    export.add_argument("--format", default="coco", choices=("coco",), help="format to write (default: coco)")
    export.add_argument("--per-split", action="store_true", help="one file for each of train, val and test")
    add_json(export)

    validate = add_verb(
        verbs,
        "validate",
        run_validate,
        "check a dataset",
        "hakka validate build/dataset --out build/validation   "
        "(or: hakka validate build/dataset-2 --against build/validation --out build/validation-2)",
    )
    validate.add_argument("dataset", type=Path, metavar="DATASET", help="folder that `hakka convert` wrote")
    validate.add_argument("--data", type=Path, metavar="SRC", help=_DATA_HELP)
    validate.add_argument(
        "--out", type=Path, default=Path("build/validation"), metavar="DIR", help="reports (default: build/validation)"
    )
    validate.add_argument(
        "--checks", type=Path, metavar="DIR", help="your own checks, test_*.py (default: checks beside params.yaml)"
    )
    validate.add_argument(
        "--against", type=Path, metavar="BEFORE", help="validation or dataset of the version before, to watch for drift"
    )
    add_json(validate)


def run_sample(options: argparse.Namespace) -> int:
    """Draw the sample."""
    from hakka.data.sample import SAMPLE_BACKGROUNDS, write_sample

    families = tuple(options.backgrounds.split(",")) if options.backgrounds else SAMPLE_BACKGROUNDS
    counts = write_sample(
        options.out,
        images=options.images,
        seed=options.seed,
        size=options.size,
        backgrounds=families,
        faulty=not options.clean,
    )
    if options.json:
        print_json({**counts, "out": str(options.out)})
    else:
        print(
            f"{options.out}: {counted(counts['images'], 'image')}, {counted(counts['annotations'], 'annotation')}, "
            + counted(counts["classes"], "class", "classes")
        )
    return 0


def run_convert(options: argparse.Namespace) -> int:
    """Convert a source folder; exit 1 when it has boxes and none of them could be converted."""
    from hakka.data.convert import convert
    from hakka.data.split import SplitParams

    params = read_section(SplitParams, "split", keep_source=options.keep_source_split or None)
    report = convert(
        options.source,
        options.out,
        format=options.format,
        params=params,
        classes=options.classes,
        earlier=options.keep_splits,
        progress=progress_line("images"),
    )
    images, boxes = report["images"], report["boxes"]
    code = 1 if boxes["found"] and not boxes["converted"] else 0
    if options.json:
        print_json({**report, "out": str(options.out)})
        return code
    print(f"images  {images['found']} found, {images['converted']} converted, {images['refused']} refused")
    print(
        f"boxes   {boxes['found']} found, {boxes['converted']} converted ({boxes['clipped']} of them clipped), "
        f"{boxes['refused']} refused" + (f", {boxes['dropped']} dropped" if boxes["dropped"] else "")
    )
    _print_findings(sorted((item for item in report["findings"] if item["kind"] != "dropped"), key=_weight))
    print(f"report  {options.out / 'report.html'}")
    if code:
        print("no box could be converted: there is nothing to learn from here")
    return code


def _weight(finding: dict[str, Any]) -> tuple[bool, bool, bool]:
    """What was lost or changed comes before notes, and notes about leaks before those about names."""
    note = finding["kind"] == "note"
    return note, note and "leaks" not in finding["reason"], finding["kind"] == "clipped"


def run_export_data(options: argparse.Namespace) -> int:
    """Write a dataset in another format."""
    from hakka.data.coco_out import export_coco

    written = export_coco(options.dataset, options.data, options.out, per_split=options.per_split)
    if options.json:
        print_json(written)
    else:
        for file in written["files"]:
            print(file)
        nouns = {"images": "image", "boxes": "box", "classes": "class"}
        print(", ".join(counted(written[many], one, many) for many, one in nouns.items()))
    return 0


def run_validate(options: argparse.Namespace) -> int:
    """Check a dataset; exit 1 when a check of severity error said no."""
    from hakka.quality.suite import Suite

    with Suite() as suite:  # it loads while this process does
        from hakka.quality.validate import validate

        report = validate(
            options.dataset, options.data, options.out, checks=options.checks, against=options.against, suite=suite
        )
    if options.json:
        print_json({**report, "out": str(options.out)})
    else:
        _print_checks(report)
        print(f"report  {options.out / 'report.html'}")
    return 0 if report["passed"] else 1


def _print_checks(report: dict[str, Any]) -> None:
    for check in report["checks"]:
        if not check["passed"]:
            print(f"{check['severity']}: {check['name']}: {counted(len(check['findings']), 'finding')}")
            _print_findings(check["findings"])
    verdict = "passed" if report["passed"] else "failed"
    skipped = [check for check in report["checks"] if check["skipped"]]
    for check in skipped:
        print(f"not run: {check['name']}: {visible(check['note'].removeprefix('skipped: '))}")
    run = len(report["checks"]) - len(skipped)
    errors, warnings = counted(report["errors"], "error"), counted(report["warnings"], "warning")
    print(f"checks  {run} run, {errors}, {warnings}: {verdict}")


def _print_findings(findings: list[dict[str, Any]]) -> None:
    for finding in findings[:SHOWN]:
        image, reason = finding.get("image"), finding["reason"]
        text = reason if not image or image in reason else f"{image}: {reason}"
        print("  " + visible(text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"))
    if len(findings) > SHOWN:
        print(f"  … and {len(findings) - SHOWN} more")

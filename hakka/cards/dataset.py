"""The dataset card: what a dataset holds, how it was made, what was checked and what is wrong with it."""

from collections.abc import Mapping, Sequence
from typing import Any

from hakka.cards.markdown import Card, escape, facts, join, section, sentences, table

FILES = 20  # annotation files that are named
DRIFT = "data_drift"
TOLD = (DRIFT, "source_findings")  # checks whose findings the card tells elsewhere
LIMITS = """\
- **For**: training and measuring a food detector, with boxes around what is on the photos.
- Food that is on a photo and has no box teaches the detector to overlook it, and counts as a mistake if it is found.
- The figures of a detector hold for photos like these. What no photo here shows, nobody has measured.
- The photos are no part of the dataset, which refers to them by name and digest; their owners say who may use them."""

Record = Mapping[str, Any]


def dataset_card(record: Record, conversion: Record, validation: Record) -> Card:
    """The card of a run's dataset, from its record and the ``report.json`` of its conversion and of its checks.

    What they do not hold is left out.
    """
    dataset, checks = record.get("dataset") or {}, validation.get("checks") or []
    parts = (
        _summary(record, dataset, conversion),
        section("Intended use and limits", LIMITS),
        section("What was found and what became of it", _counts(conversion)),
        section("Splits", *_splits(dataset, conversion.get("splits") or {})),
        section("Classes", _classes(conversion)),
        section("Checks", *_checks(validation, checks)),
        section("Drift since the last accepted version", _drift(checks)),
        section("Known faults", *_faults(conversion, checks)),
    )
    return Card(f"Dataset card: {str(dataset.get('digest') or '')[:12]}", join(*parts))


def _summary(record: Record, dataset: Record, conversion: Record) -> str:
    images, boxes = dataset.get("images") or {}, dataset.get("boxes") or {}
    return facts(
        {
            "Source": record.get("data"),
            "Revision": record.get("data_revision"),
            "Digest": dataset.get("digest"),
            "Annotations": conversion.get("format"),
            "Annotation files": _some(conversion.get("annotations") or []),
            "Images": sum(images.values()) if images else None,
            "Boxes": sum(boxes.values()) if boxes else None,
            "Classes": dataset.get("classes"),
            "Used by run": record.get("run"),
            "Git commit of the code": record.get("commit"),
        }
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:FILES]) + (f" and {len(names) - FILES:,} more" if len(names) > FILES else "")


def _counts(conversion: Record) -> str:
    columns = ("found", "converted", "clipped", "refused", "dropped")
    rows = [
        (what, *(conversion[what].get(name) for name in columns)) for what in ("images", "boxes") if what in conversion
    ]
    return table(("", "found", "converted", "of these clipped", "refused", "dropped"), rows)


def _splits(dataset: Record, splits: Record) -> list[str]:
    rule = dataset.get("split") or {}
    how = ""
    if rule.get("keep_source"):
        how = "The source's own splits were kept."
    elif {"val", "test", "seed", "bits"} <= rule.keys():
        how = (
            f"Photos go to train, val and test by their content (seed {rule['seed']}): {rule['val']:.0%} to val and "
            f"{rule['test']:.0%} to test. Photos whose perceptual hashes differ in at most {rule['bits']} of 256 bits "
            "are one scene, and scenes stay together."
        )
    rows = [(split, row.get("images"), row.get("boxes"), row.get("scenes")) for split, row in splits.items()]
    return [how, table(("split", "images", "boxes", "scenes"), rows)]


def _classes(conversion: Record) -> str:
    splits = conversion.get("splits") or {}
    rows = [
        (name, *(part["classes"].get(name) for part in splits.values()), count)
        for name, count in (conversion.get("classes") or {}).items()
    ]
    return table(("class", *(f"boxes in {split}" for split in splits), "boxes"), rows)


def _checks(validation: Record, checks: Sequence[Record]) -> list[str]:
    rows = [(check["name"], _result(check), len(check["findings"]), check["about"]) for check in checks]
    verdict = {"Passed": validation.get("passed"), "Errors": validation.get("errors")}
    return [
        facts(verdict | {"Warnings": validation.get("warnings")}),
        table(("check", "result", "findings", "what must be true"), rows),
    ]


def _result(check: Record) -> str:
    if check.get("skipped"):
        return "not run"
    return "passed" if check["passed"] else str(check["severity"])


def _drift(checks: Sequence[Record]) -> str:
    """What the check of drift said; nothing where it did not run."""
    for check in checks:
        if check["name"] == DRIFT and not check.get("skipped"):
            found = [finding["reason"] for finding in check["findings"]]
            told = found or [check["note"] or "Classes, boxes and images are distributed as in it."]
            return sentences(told, "the validation's report.json")
    return ""


def _faults(conversion: Record, checks: Sequence[Record]) -> list[str]:
    """What was refused, dropped or clipped, and what the checks found, the first of each."""
    changed = [item["reason"] for item in conversion.get("findings") or [] if item["kind"] != "note"]
    parts = []
    if changed:
        parts += ["Refused, dropped or clipped:", sentences(changed, "the conversion's report.json")]
    for check in checks:
        if not check["passed"] and check["name"] not in TOLD:
            found = [finding["reason"] for finding in check["findings"]]
            parts += [f"Check {escape(check['name'])} ({escape(check['severity'])}):"]
            parts += [sentences(found, "the validation's report.json")]
    return parts or ["None is known."] * bool(checks)

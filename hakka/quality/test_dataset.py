"""Is the dataset what convert wrote, what did convert have to refuse, and is it like the version before?"""

from typing import Any

import pytest

from hakka.data.dataset import Dataset
from hakka.quality.answers import Judge
from hakka.quality.limits import Limits
from hakka.quality.profile import DriftLimits, Profile, find_drift


def test_dataset_digest(dataset: Dataset, found_digest: str, judge: Judge) -> None:
    """Index, labels and class names are as they were converted."""
    same = found_digest == dataset.digest
    judge([] if same else [(None, f"the digest must be {dataset.digest[:12]}, got {found_digest[:12]}")])


def test_source_findings(source_report: dict[str, Any], judge: Judge) -> None:
    """What convert clipped or refused."""
    findings = [item for item in source_report.get("findings", []) if item["kind"] in ("clipped", "refused")]
    judge((item["image"], f"{item['kind']}: {item['reason']}") for item in findings)


def test_source_refused(source_report: dict[str, Any], limits: Limits, judge: Judge) -> None:
    """Only a small share of the source was refused."""
    most = limits.number("source_refused", "max_share")
    problems: list[tuple[str | None, str]] = []
    for what in ("images", "boxes"):
        counts = source_report.get(what, {"found": 0, "refused": 0})
        share = counts["refused"] / max(counts["found"], 1)
        if share > most:
            reason = f"{counts['refused']} of {counts['found']} {what} were refused: the share must be ≤ {most:g}"
            problems.append((None, f"{reason}, got {share:.2f}"))
    judge(problems)


def test_data_drift(current_profile: Profile, previous_profile: Profile | None, limits: Limits, judge: Judge) -> None:
    """Classes, boxes and images are distributed as in the last version."""
    if previous_profile is None:
        pytest.skip("there was no earlier version to compare with")
    allowed = DriftLimits(
        limits.number("data_drift", "max_class_distance"), limits.number("data_drift", "max_number_distance")
    )
    judge((None, reason) for reason in find_drift(previous_profile, current_profile, allowed))

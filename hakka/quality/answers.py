"""What the checks answered: one record a check, and how a check says it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import pytest
from _pytest.outcomes import Failed  # what pytest.fail raises; its public name is not known to type checkers

from hakka.errors import InvalidInput
from hakka.quality.limits import Limits
from hakka.texts import printable, short

SUITE = Path(__file__).resolve().parent
Problem = tuple[str | None, str] | tuple[str | None, str, str]
"""The image it is about, or None; the sentence; a second image that it is about."""


class Judge(Protocol):
    """Called by a check with its problems; fails an error-check that has any."""

    def __call__(self, problems: Iterable[Problem], note: str = "") -> None:
        """``note`` is a sentence for the report that is no finding."""


class SaidNo(Failed):
    """An error-check had findings, and they are recorded."""


class Answers:
    """The records of all checks that ran, by pytest's node id."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.records: dict[str, dict[str, Any]] = {}

    def of(self, item: pytest.Item) -> dict[str, Any]:
        """The record of a check; passed and without findings when it is new."""
        function = getattr(item, "function", None)
        about = (getattr(function, "__doc__", None) or "").strip().partition("\n")[0]
        return self._record(item.nodeid, check_name(item), about, self.limits.severity(check_name(item)), item.path)

    def of_file(self, path: Path) -> dict[str, Any]:
        """The record of a file of checks that cannot be used."""
        return self._record(str(path), path.stem, "The file of checks can be loaded.", "error", path)

    def _record(self, key: str, name: str, about: str, severity: str, path: Path) -> dict[str, Any]:
        return self.records.setdefault(
            key,
            {
                "name": printable(name),
                "about": printable(about),
                "severity": severity,
                "origin": origin(path),
                "passed": True,
                "skipped": False,
                "note": "",
                "findings": [],
            },
        )

    def judge(self, item: pytest.Item, problems: Iterable[Problem], note: str = "") -> None:
        """Add the problems of a check.

        Raises:
            SaidNo: there are any, and its severity is error.
        """
        record = self.of(item)
        add_findings(record, problems)
        record["note"] = note or record["note"]
        findings = record["findings"]
        if findings and record["severity"] == "error":
            rest = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
            raise SaidNo(f"{findings[0]['reason']}{rest}", pytrace=False)


def add_findings(record: dict[str, Any], problems: Iterable[Problem]) -> None:
    """Put problems into a record, which then has not passed.

    Raises:
        InvalidInput: one of them is no problem; a text, say, would be taken apart into its letters.
    """
    for problem in problems:
        if not isinstance(problem, tuple | list) or len(problem) not in (2, 3):
            rule = "a problem must be (photo or None, sentence) or (photo, sentence, other photo)"
            raise InvalidInput(f"judge: {rule}, got {short(problem)}")
        image, reason, *other = problem
        finding = {"image": image if image is None else printable(str(image)), "reason": printable(str(reason))}
        record["findings"].append(finding | ({"other": printable(str(other[0]))} if other else {}))
    record["passed"] = not record["findings"]


def break_check(record: dict[str, Any], reason: str) -> None:
    """Record that a check broke, which is an error whatever its findings weigh."""
    record["severity"] = "error"
    add_findings(record, [(None, reason)])


def check_name(item: pytest.Item) -> str:
    """The name that params.yaml and the reports use: that of the function without ``test_``."""
    return item.name.removeprefix("test_")


def origin(path: Path) -> str:
    """Empty for a check of Hakka's own, else the file of the user's check."""
    return "" if is_own(path) else printable(f"{path.parent.name}/{path.name}")


def is_own(path: Path) -> bool:
    """Whether a file is one of this suite."""
    return path.resolve().is_relative_to(SUITE)

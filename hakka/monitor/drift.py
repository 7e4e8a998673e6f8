"""The drift watch: are the photos and answers of late like those on which the model was accepted?

The only module that imports Evidently, which takes seconds to import and draws the report; what counts as drift is
decided by ``hakka.monitor.columns``, and Evidently shows the same tests.
"""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hakka.errors import InvalidInput
from hakka.files import read_json, write_json, write_whole
from hakka.monitor.columns import KINDS, DriftParams, Kind, align, compare_columns, derive, kind_of
from hakka.monitor.log import read_log
from hakka.monitor.rows import read_rows
from hakka.objects import Place

if TYPE_CHECKING:
    import pandas as pd

REPORT = "report.html"
ANSWER = "drift.json"


def watch(
    reference: Path, log: Place, out: Path, params: DriftParams | None = None, *, now: datetime | None = None
) -> dict[str, Any]:
    """Compare the log's last days with the reference; write ``report.html`` and then ``drift.json`` into ``out``.

    Only rows of one model version are compared: the one that made the reference, or ``params.version``. Gives
    ``{"answer": "ok"|"drifted"|"too_few_rows", "drifted": bool, "reason": a sentence, "version", "rows",
    "reference_rows", "since", "columns": see ``compare_columns``, "report": path | None}``. Too few rows are no drift
    and make no report. In ``drift.json`` the report is named relative to it.

    Raises:
        InvalidInput: the reference cannot be read, or does not say which version it belongs to.
        Unavailable: the log lies in an object store that does not answer.
    """
    params = params or DriftParams()
    since = (now or datetime.now(UTC)) - timedelta(days=params.days)
    before, version = _read_reference(reference, params.version)
    rows = read_log(log, since)
    rows = rows[rows["version"] == version]
    answer = {"version": version, "rows": len(rows), "reference_rows": len(before), "since": since.isoformat()}
    if len(rows) < params.min_rows or len(before) < params.min_reference:
        answer = _too_few(answer, params)
    else:
        expected, current = align(derive(before), derive(rows), params.alpha)
        columns = compare_columns(expected, current, params)
        write_whole(out / REPORT, draw_report(expected, current, params))
        answer = _decide(answer, columns)
    write_json(out / ANSWER, answer)
    return answer | {"report": str(out / REPORT) if answer["report"] else None}


def draw_report(expected: "pd.DataFrame", current: "pd.DataFrame", params: DriftParams) -> str:
    """Evidently's self-contained HTML page of two aligned frames: every column's distributions and test."""
    return str(_run_evidently(expected, current, params).get_html_str(as_iframe=False))


def _run_evidently(expected: "pd.DataFrame", current: "pd.DataFrame", params: DriftParams) -> Any:
    os.environ["DO_NOT_TRACK"] = "1"
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    kinds = {name: kind_of(name) for name in expected}
    for kind in KINDS:
        _register_test(kind, kind.least_effect(params), len(kinds))
    definition = DataDefinition(
        numerical_columns=[name for name, kind in kinds.items() if not kind.categorical],
        categorical_columns=[name for name, kind in kinds.items() if kind.categorical],
    )
    metrics = [ValueDrift(column=name, method=kind.name, threshold=params.alpha) for name, kind in kinds.items()]
    sides = [Dataset.from_pandas(frame, data_definition=definition) for frame in (current, expected)]
    return Report(metrics, include_tests=True).run(*sides)


def _register_test(kind: Kind, least_effect: float, count: int) -> None:
    # Evidently 0.7 keeps its registry of tests in `legacy`; registering a name again replaces it.
    from evidently.legacy.calculations.stattests import StatTest, register_stattest
    from evidently.legacy.core import ColumnType

    column_type = ColumnType.Categorical if kind.categorical else ColumnType.Numerical
    title = f"{kind.title} {least_effect:g}"
    register_stattest(StatTest(kind.name, title, [column_type]), _as_test(kind, least_effect, count))


def _as_test(kind: Kind, least_effect: float, count: int) -> Callable[[Any, Any, Any, float], tuple[float, bool]]:
    def test(expected: Any, current: Any, column_type: Any, alpha: float) -> tuple[float, bool]:
        result = kind.compare(expected, current).among(count)
        return result.p_value, result.drifted(alpha, least_effect)

    return test


def _read_reference(path: Path, wanted: str) -> "tuple[pd.DataFrame, str]":
    rows = read_rows(path)
    versions = sorted({version for version in rows["version"] if version})
    model = path.with_name("model.json")
    if not versions and (wanted or model.is_file()):
        # A version may be a digest over files of which the reference is one; then its rows cannot hold it themselves.
        return rows, wanted or str(read_json(model)["version"])
    if wanted and wanted not in versions:
        raise InvalidInput(f"{path}: must hold rows of version {wanted}, it holds {', '.join(versions) or 'none'}")
    if not wanted and len(versions) != 1:
        found = ", ".join(versions) or "no version"
        raise InvalidInput(f"{path}: must hold rows of one version unless monitor.version names one, found {found}")
    version = wanted or versions[0]
    return rows[rows["version"] == version], version


def _too_few(answer: dict[str, Any], params: DriftParams) -> dict[str, Any]:
    side, place, least = "rows", f"the log since {answer['since'][:16]}", params.min_rows
    if answer["rows"] >= least:
        side, place, least = "reference_rows", "the reference", params.min_reference
    reason = f"{place} must hold at least {least} rows of version {answer['version']}, got {answer[side]}"
    return {"answer": "too_few_rows", "drifted": False, "reason": reason, **answer, "columns": {}, "report": None}


def _decide(answer: dict[str, Any], columns: dict[str, dict[str, Any]]) -> dict[str, Any]:
    moved = [name for name, column in columns.items() if column["drifted"]]
    kind = "drifted" if moved else "ok"
    reason = f"drift in {', '.join(moved)}" if moved else f"no drift in {len(columns)} columns"
    return {"answer": kind, "drifted": bool(moved), "reason": reason, **answer, "columns": columns, "report": REPORT}

"""The runs of this machine, from their own records: the local files are the truth."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hakka.errors import InvalidInput, NotFound
from hakka.files import read_json
from hakka.run import figures

Record = dict[str, Any]


def read_runs(runs: Path) -> list[Record]:
    """The records of all runs that have ended, oldest first; a folder without a record is one that is under way."""
    return [_read(path) for path in sorted(runs.glob("*/run.json"))]


def find_run(runs: Path, name: str) -> Record:
    """The record of the one run whose id begins with ``name``.

    Raises:
        NotFound: no run's id, or that of several, begins so.
    """
    found = [path for path in sorted(runs.glob("*/run.json")) if name and path.parent.name.startswith(name)]
    if len(found) != 1:
        raise NotFound(f"{name!r} must be the beginning of one run's id in {runs}, it is that of {len(found)}")
    return _read(found[0])


def run_of_version(version: Mapping[str, Any], runs: Path, registry: str | Path) -> Record:
    """The record of the run that made a version: this machine's own, else what the registry keeps, else an empty one.

    This machine's own knows the ClearML task of a session that was uploaded after the run.

    Raises:
        InvalidInput: it is not the record of a run.
        Unavailable: the registry cannot be reached.
    """
    from hakka.registry import read_run

    for path in runs.glob("*/run.json"):
        if path.parent.name == version.get("kfp_run"):
            record = _read(path)
            if (record.get("metrics") or {}).get("version") == version["version"]:  # else it did not get that far
                return record
    return read_run(registry, version["version"])


def _read(path: Path) -> Record:
    record = read_json(path)
    if not isinstance(record, dict) or not isinstance(record.get("run"), str):
        raise InvalidInput(f"{path}: not the record of a run: it has no id")
    return record


def run_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a list of runs shows of one; None for what the run did not get to."""
    metrics, training = record.get("metrics") or {}, record.get("training") or {}
    return {
        "run": record["run"],
        "status": record.get("status"),
        "seconds": record.get("seconds"),
        "data_revision": record.get("data_revision"),
        "images": (record.get("counts") or {}).get("images"),
        "start": training.get("start"),
        "epochs": training.get("epochs"),
        "map50": metrics.get("map50"),
        "map50_95": metrics.get("map50_95"),
        "decision": record.get("decision"),
        "version": metrics.get("version"),
    }


def differences(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Name → one value a run, for every parameter that is not the same in all runs and every figure of the result.

    Parameters are named ``train.epochs``, figures ``map50`` or ``per_class.apple.ap50``; None where a run has none.
    """
    params = [{f"train.{name}": value for name, value in _params(record).items()} for record in records]
    about = [{"data_revision": record.get("data_revision"), "start": _start(record)} for record in records]
    settings = _columns([one | two for one, two in zip(about, params, strict=True)])
    changed = {name: values for name, values in settings.items() if any(value != values[0] for value in values)}
    return changed | _columns([_figures(record) for record in records])


def _params(record: Mapping[str, Any]) -> Mapping[str, Any]:
    params = (record.get("training") or {}).get("params")
    return params if isinstance(params, Mapping) else {}


def _start(record: Mapping[str, Any]) -> Any:
    return (record.get("training") or {}).get("start")


def _figures(record: Mapping[str, Any]) -> dict[str, float]:
    metrics = dict(record.get("metrics") or {})
    classes = metrics.pop("per_class", None) or {}
    found = figures({name: value for name, value in metrics.items() if not isinstance(value, Mapping)})
    found |= {f"per_class.{name}.ap50": row["ap50"] for name, row in classes.items() if row.get("ap50") is not None}
    seconds = record.get("seconds")
    return found | ({"seconds": float(seconds)} if seconds is not None else {})


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}

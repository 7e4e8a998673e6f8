"""What a pipeline run did: the figures, the record, the page. The local file is the truth, trackers mirror it.

A record is a folder with ``run.json``, ``history.json`` (one entry an epoch) and ``report.html``.
"""

import html
import math
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hakka.errors import CheckFailed
from hakka.files import read_json, whole_folder, write_json, write_whole

if TYPE_CHECKING:
    from hakka.tracking import RunRecord

RUN_ID_VARIABLE = "HAKKA_RUN_ID"


@dataclass(frozen=True)
class Sources:
    """The folders that the steps of a run left behind."""

    dataset: Path
    validation: Path
    training: Path
    evaluation: Path
    decision: Path


class Artifact(Protocol):
    """What a pipeline hands to a step: something with a local path, and with figures that a dashboard shows."""

    path: str
    metadata: dict[str, Any]


def paths(*parts: Artifact | str) -> list[Path]:
    """The local paths of artifacts and of texts, in their order."""
    return [Path(part if isinstance(part, str) else part.path) for part in parts]


def new_run_id() -> str:
    """A name that sorts by time and that two runs started at once do not share."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def figures(report: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a report, also of the mappings one level down, as ``outer.inner``."""
    found: dict[str, float] = {}
    for key, value in report.items():
        inner = value.items() if isinstance(value, Mapping) else ()
        pairs = [(key, value), *((f"{key}.{name}", number) for name, number in inner)]
        found.update({name: float(number) for name, number in pairs if _is_figure(number)})
    return found


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def present(report: Mapping[str, Any], metrics: Artifact, folder: Path | None = None, page: Path | None = None) -> None:
    """Show a step's report on a dashboard: its figures as ``metrics``, and ``folder``/report.html as ``page``.

    The figures are written to a file as well: kfp.local reuses a step only if all of its outputs exist as files.
    """
    metrics.metadata.update(figures(report))
    write_json(Path(metrics.path), figures(report))
    if folder is not None and page is not None:
        write_whole(page, (folder / "report.html").read_bytes())


def check_dataset(dataset: Path, root: Path, out: Path, shards: Sequence[Path], source: str) -> dict[str, Any]:
    """Run the data checks from what the shards saw, against the last accepted version of ``source``; the report.

    Raises:
        InvalidInput: the shards are not those of one scan, or the dataset or its checks cannot be read.
    """
    from hakka.data.shards import read_shards
    from hakka.quality.profile import last_profile
    from hakka.quality.validate import validate
    from hakka.settings import read_settings

    against = last_profile(read_settings().home, source)
    return validate(dataset, root, out, scans=read_shards(shards), against=against)


def accept_data(validation: Path, source: str) -> None:
    """Make a version of ``source`` whose checks passed the one that the next is compared with.

    Raises:
        CheckFailed: as ``require_passed``.
    """
    from hakka.quality.profile import remember_profile
    from hakka.settings import read_settings

    require_passed(validation)
    remember_profile(validation, read_settings().home, source)


def present_confusion(evaluation: Mapping[str, Any], chart: Any) -> None:
    """Show an evaluation's confusion matrix on a dashboard; ``chart`` is a pipeline's ClassificationMetrics."""
    chart.log_confusion_matrix([*evaluation["per_class"], "nothing"], evaluation["confusion"])
    write_json(Path(chart.path), evaluation["confusion"])


def require_passed(validation: Path) -> None:
    """Do nothing if the data checks in the folder ``validation`` passed.

    Raises:
        CheckFailed: a check of severity error did not; the sentence names the checks and the report.
    """
    report = read_json(validation / "report.json")
    if report["passed"]:
        return
    failed = [check["name"] for check in report["checks"] if check["severity"] == "error" and not check["passed"]]
    raise CheckFailed(
        f"the dataset must pass its checks, but {len(failed)} said no: {', '.join(failed)}; "
        f"the findings are in {validation / 'report.html'}"
    )


def lineage(data: str, data_revision: str, run: str) -> dict[str, str]:
    """Where a model comes from. A local run is known by its own id, one on a cluster by that of the pipeline job."""
    return {"data": data, "data_revision": data_revision, "run": os.environ.get(RUN_ID_VARIABLE) or run}


def track(out: Path, sources: Sources, version: str, origin: Mapping[str, str]) -> dict[str, Any]:
    """Write the record of a run into the folder ``out``, mirror it to ClearML, and give it.

    A mirror that fails is a warning in the record's ``clearml``.
    """
    from hakka.settings import read_settings
    from hakka.tracking import mirror_run

    record = collect_run(sources, version, origin)
    history = sources.training / "history.json"
    with whole_folder(out) as folder:
        write_json(folder / "run.json", record)
        write_json(folder / "history.json", read_json(history) if history.is_file() else [])
        write_whole(folder / "report.html", render_run(record))
    record["clearml"] = mirror_run(_as_tracked(record, out), read_settings().clearml)
    write_json(out / "run.json", record)
    return record


def _as_tracked(record: Mapping[str, Any], folder: Path) -> "RunRecord":
    """The record in a tracker's words."""
    from hakka.tracking import RunRecord

    origin = {name: record[name] for name in ("data", "data_revision", "run", "version", "decision", "reason")}
    return RunRecord(
        name=record["run"],
        params={"run": origin, "train": record["training"].get("params", {})},
        history=read_json(folder / "history.json"),
        metrics={**record["metrics"], "counts": record["counts"]},
        artifacts={
            "run": folder / "run.json",
            "report": folder / "report.html",
            **{name: Path(path) for name, path in record["paths"].items()},
        },
        tags=[record["decision"]],
    )


def collect_run(sources: Sources, version: str, origin: Mapping[str, str]) -> dict[str, Any]:
    """The record of a run, read from what its steps left behind.

    Raises:
        InvalidInput: a step's report is missing or is not JSON.
    """
    converted = read_json(sources.dataset / "report.json")
    validation = read_json(sources.validation / "report.json")
    verdict = read_json(sources.decision / "decision.json")
    training = sources.training / "train.json"
    return {
        "format": 1,
        **origin,
        "dataset": _without(read_json(sources.dataset / "dataset.json"), "names"),
        "counts": count_entries(converted),
        "validation": {key: validation[key] for key in ("passed", "errors", "warnings")},
        "training": read_json(training) if training.is_file() else {},
        "metrics": read_json(sources.evaluation / "metrics.json"),
        "decision": "promote" if verdict["promote"] else "keep",
        "reason": verdict["reason"],
        "numbers": verdict.get("numbers", {}),
        "impact": verdict.get("impact", {}),
        "version": version or None,
        "paths": {
            "conversion": str(sources.dataset / "report.html"),
            "validation": str(sources.validation / "report.html"),
            "evaluation": str(sources.evaluation / "report.html"),
        },
    }


def count_entries(converted: Mapping[str, Any]) -> dict[str, int]:
    """How many images and boxes of the source were used, clipped and refused, from a conversion report."""
    images, boxes = converted["images"], converted["boxes"]
    return {
        "images": images["converted"],
        "boxes": boxes["converted"],
        "clipped": boxes["clipped"],
        "refused": images["refused"] + boxes["refused"],
        "refused_images": images["refused"],
        "refused_boxes": boxes["refused"],
    }


def summarize_run(record: Mapping[str, Any]) -> str:
    """The record in a few lines for a person."""
    from hakka.detector.impact import impact_sentence

    counts, metrics = record["counts"], record["metrics"]
    refused = f"refused {counts['refused_images']} images, {counts['refused_boxes']} boxes"
    return "\n".join(
        (
            f"data      {counts['images']} images, {counts['boxes']} boxes ({counts['clipped']} clipped); {refused}",
            f"detector  mAP50 {metrics['map50']:.3f}, mAP50-95 {metrics['map50_95']:.3f} on the test images",
            f"gate      {record['decision']}: {record['reason']}",
            *([f"recipes   {impact_sentence(record['impact'])}"] if record.get("impact") else []),
            f"champion  {record['version'] or 'none'}",
        )
    )


def render_run(record: Mapping[str, Any]) -> str:
    """The record as one self-contained page that links the reports of its steps."""
    heading = f"Run {record['run']}"
    rows = [line.split(maxsplit=1) for line in summarize_run(record).splitlines()]
    steps = [(step["name"], f"{step['state']}, {step['seconds']:.1f} s") for step in record.get("steps", [])]
    links = "".join(
        f'<li><a href="{html.escape(Path(path).as_uri())}">{name} report</a></li>'
        for name, path in record["paths"].items()
        if path.endswith(".html") and name != "report"
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(heading)}</title>'
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem}"
        "th{text-align:left;vertical-align:top;padding-right:1.5rem}</style>"
        f"<h1>{html.escape(heading)}</h1><table>{_rows(rows)}</table><h2>Reports</h2><ul>{links}</ul>"
        f"{f'<h2>Steps</h2><table>{_rows(steps)}</table>' if steps else ''}</html>\n"
    )


def _rows(pairs: Any) -> str:
    return "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in pairs)


def _without(mapping: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key not in keys}

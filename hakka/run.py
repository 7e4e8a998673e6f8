"""What a pipeline run did: the figures, the record, the page. The local file is the truth, trackers mirror it.

A record is a folder with ``run.json``, ``history.json`` (one entry an epoch), ``report.html``, and the model card and
the dataset card, each as Markdown and as a page.
"""

import logging
import math
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hakka.errors import CheckFailed, HakkaError
from hakka.files import read_json, whole_folder, write_json, write_whole
from hakka.run_page import CARDS, render_run

if TYPE_CHECKING:
    from hakka.tracking import RunRecord

LOGGER = logging.getLogger(__name__)
RUN_ID_VARIABLE = "HAKKA_RUN_ID"
COMMIT_VARIABLE = "HAKKA_COMMIT"  # of the code, where there is no repository around it: in an image
# Sections of params.yaml that do not decide what a run comes to: how it is spread, what follows it, and the search,
# whose outcome are variants.
UNTRACKED = ("scan", "search", "cluster", "monitor")


@dataclass(frozen=True)
class Sources:
    """The folders that the steps of a run left behind."""

    dataset: Path
    validation: Path
    training: Path
    model: Path
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


def prepare_data(data: str, wanted: str) -> tuple[str, str, str]:
    """The folder that holds the wanted version of ``data``, the lasting name of the version, and the digest of the
    accepted dataset whose splits it keeps (empty for none).

    Raises:
        InvalidInput: the gate is to protect a slice that the data cannot have, or its ``metadata.csv`` cannot be read;
            or the champion, which the gate compares with, is of another release of Hakka.
        Tampered: the champion is not what was registered.
        InvalidInput, NotFound, Unavailable: as ``hakka.data.pinning.pin`` and ``hakka.data.earlier.find_earlier``.
    """
    from hakka.data.earlier import find_earlier
    from hakka.data.pinning import pin
    from hakka.data.split import SplitParams
    from hakka.detector.gate import GateParams
    from hakka.detector.slices import check_metadata_slices
    from hakka.params import read_section
    from hakka.registry import check_champion
    from hakka.settings import read_settings

    settings = read_settings()
    check_champion(settings.registry)
    folder, revision = pin(Path(data), wanted, settings.versions)
    for note in check_metadata_slices(read_section(GateParams, "gate").slices, Path(folder)):
        print(note, flush=True)
    return folder, revision, find_earlier(settings.accepted, data, revision, read_section(SplitParams, "split"))


def convert_data(source: Path, out: Path, format: str, shards: Sequence[Path], earlier: str) -> dict[str, Any]:  # noqa: A002
    """Convert from what the shards saw, with the splits of the accepted dataset ``earlier`` kept; the report.

    Raises:
        InvalidInput, Unavailable: as ``hakka.data.shards.convert_scanned``.
    """
    from hakka.data.shards import convert_scanned
    from hakka.settings import read_settings

    kept = read_settings().accepted / earlier if earlier else None
    return convert_scanned(source, out, format, shards, kept)


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


def accept_data(validation: Path, dataset: Path, source: str, revision: str) -> None:
    """Make a version of ``source`` whose checks passed the one that the next is compared with and split after.

    Raises:
        CheckFailed: as ``require_passed``.
    """
    from hakka.data.earlier import remember_dataset
    from hakka.quality.profile import remember_profile
    from hakka.settings import read_settings

    require_passed(validation)
    settings = read_settings()
    remember_profile(validation, settings.home, source)
    remember_dataset(dataset, settings.accepted, source, revision)


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


def present_cards(record: Path, *pages: Path) -> None:
    """Show the cards of a run record on a dashboard: the Markdown of each as one of ``pages``."""
    for name, page in zip(CARDS, pages, strict=True):
        write_whole(page, (record / f"{name}.md").read_bytes())


def copy_cards(record: Path, folder: Path) -> None:
    """Put the cards of a run record beside the page that links them."""
    for path in sorted(record.glob("*-card.*")):
        write_whole(folder / path.name, path.read_bytes())


def lineage(data: str, data_revision: str, run: str) -> dict[str, str]:
    """Where a model comes from. A local run is known by its own id, one on a cluster by that of the pipeline job."""
    run = os.environ.get(RUN_ID_VARIABLE) or run
    return {"data": data, "data_revision": data_revision, "run": run, "commit": find_code_commit()}


def find_code_commit() -> str:
    """The commit of Hakka's own code, "-dirty" after it where files differ from it; empty where nothing tells."""
    from hakka.data.git import run_git

    root = Path(__file__).resolve().parent.parent
    if given := os.environ.get(COMMIT_VARIABLE):
        return given
    try:
        run_git(["ls-files", "--error-unmatch", "hakka/run.py"], root)  # not the repository of an environment's owner
        return (
            run_git(["--no-optional-locks", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"], root)
            .decode()
            .strip()
        )
    except HakkaError:
        return ""


def track(out: Path, sources: Sources, version: str, origin: Mapping[str, str]) -> dict[str, Any]:
    """Write the record of a run into the folder ``out``, mirror it to ClearML, and give it.

    A mirror that fails is a warning in the record's ``clearml``. The registry keeps the record if the run made the
    champion; where it cannot, that is a warning too, because by then the champion serves.

    Raises:
        InvalidInput: a step's report is missing or is not JSON.
    """
    from hakka.settings import read_settings
    from hakka.tracking import mirror_run

    record = collect_run(sources, version, origin)
    history = sources.training / "history.json"
    with whole_folder(out) as folder:
        write_json(folder / "run.json", record)
        write_json(folder / "history.json", read_json(history) if history.is_file() else [])
        write_whole(folder / "report.html", render_run(record, out))
        _write_cards(record, sources, folder)
    record["clearml"] = mirror_run(_as_tracked(record, sources, out), read_settings().clearml)
    _write_cards(record, sources, out)  # which name the task now
    write_json(out / "run.json", record)
    if version and version == record["metrics"].get("version"):
        _keep(read_settings().registry, version, record)
    return record


def _keep(registry: str | Path, version: str, record: Mapping[str, Any]) -> None:
    from hakka.registry import keep_run

    try:
        keep_run(registry, version, record)
    except (HakkaError, OSError) as error:
        LOGGER.warning("run %s is complete, the registry did not take its record: %s", record["run"], error)


def _write_cards(record: Mapping[str, Any], sources: Sources, folder: Path) -> None:
    from hakka.cards import dataset_card, model_card

    reports = (read_json(path / "report.json") for path in (sources.dataset, sources.validation))
    for name, card in zip(CARDS, (model_card(record), dataset_card(record, *reports)), strict=True):
        write_whole(folder / f"{name}.md", card.markdown)
        write_whole(folder / f"{name}.html", card.html)


def _as_tracked(record: Mapping[str, Any], sources: Sources, folder: Path) -> "RunRecord":
    """The record in a tracker's words."""
    from hakka.tracking import RunRecord

    origin = ("data", "data_revision", "commit", "run", "version", "decision", "reason")
    metrics, classes = record["metrics"], list(record["metrics"]["per_class"])
    return RunRecord(
        name=record["run"],
        params={
            "run": {name: record.get(name) for name in origin},
            "dataset": record["dataset"],
            **record["params"],
        },
        history=read_json(folder / "history.json"),
        metrics={**metrics, "speed": record["speed"], "counts": record["counts"]},
        curves=_read_curves(sources.evaluation / "curves.json"),
        confusion=metrics.get("confusion", ()),
        labels=[*classes, "nothing"],
        artifacts={
            "run": folder / "run.json",
            "report": folder / "report.html",
            **{name: folder / f"{name}.md" for name in CARDS},
            **{name: Path(path) for name, path in record["paths"].items()},
        },
        model=sources.model,
        version=metrics.get("version", ""),
        classes=read_json(sources.model / "model.json")["names"],
        tags=[record["decision"]],
    )


def _read_curves(path: Path) -> dict[str, list[tuple[float, float]]]:
    """Recall and precision of each class that the test images show, as an evaluation wrote them."""
    rows = read_json(path) if path.is_file() else {}
    return {
        name: [(k / (len(row) - 1), precision) for k, precision in enumerate(row)]
        for name, row in rows.items()
        if None not in row
    }


def used_params(sources: Sources) -> dict[str, dict[str, Any]]:
    """The sections of params.yaml that decided what a run came to, with what this run put in the place of theirs.

    Raises:
        InvalidInput: params.yaml or a step's record cannot be read.
    """
    from hakka.detector.variants import read_comparison
    from hakka.params import read_params

    params = {name: dict(section) for name, section in read_params().items() if name not in UNTRACKED}
    training, variant = sources.training / "train.json", sources.evaluation / "variant.json"
    if training.is_file():
        params["train"].update(read_json(training).get("params", {}))
    if variant.is_file():
        params["export"]["precision"] = read_json(variant)["precision"]
    if comparison := read_comparison(sources.evaluation):
        compared = [row["settings"] for row in comparison["compared"]]
        params["variants"].update(settings=compared, latency_budget_ms=comparison["latency_budget_ms"])
    return params


def collect_run(sources: Sources, version: str, origin: Mapping[str, str]) -> dict[str, Any]:
    """The record of a run, read from what its steps left behind.

    Raises:
        InvalidInput: a step's report is missing or is not JSON.
    """
    from hakka.detector.variants import read_comparison

    converted = read_json(sources.dataset / "report.json")
    validation = read_json(sources.validation / "report.json")
    verdict = read_json(sources.decision / "decision.json")
    training, speed = sources.training / "train.json", sources.evaluation / "speed.json"
    return {
        "format": 1,
        **origin,
        "dataset": _without(read_json(sources.dataset / "dataset.json"), "names"),
        "counts": count_entries(converted),
        "kept_splits": converted.get("kept_splits", ""),
        "validation": summarize_checks(validation),
        "params": used_params(sources),
        "training": read_json(training) if training.is_file() else {},
        "model": _without(read_json(sources.model / "model.json"), "names"),
        "metrics": read_json(sources.evaluation / "metrics.json"),
        "speed": read_json(speed) if speed.is_file() else {},
        "variants": read_comparison(sources.evaluation),
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


def summarize_checks(validation: Mapping[str, Any]) -> dict[str, Any]:
    """What a validation came to: whether it passed, how many checks were ``run``, and those that ``warned`` by name."""
    checks = validation["checks"]
    warned = [check["name"] for check in checks if check["severity"] == "warning" and not check["passed"]]
    return {
        **{key: validation[key] for key in ("passed", "errors", "warnings")},
        "run": sum(not check["skipped"] for check in checks),
        "warned": warned,
    }


def _without(mapping: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key not in keys}

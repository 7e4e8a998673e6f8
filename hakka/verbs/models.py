"""``hakka train | export | evaluate | models | promote | rollback``."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hakka.errors import InvalidInput
from hakka.params import read_section
from hakka.settings import Settings, read_settings
from hakka.texts import visible
from hakka.verbs.shared import Verbs, add_json, add_verb, find_model, print_json, print_rows

CHANNELS = ("champion", "canary")


def add_verbs(verbs: Verbs) -> None:
    """Add the verbs of the model."""
    train = add_verb(
        verbs,
        "train",
        run_train,
        "train a detector on a dataset",
        "hakka train build/dataset --data sample --out build/training",
    )
    _add_dataset(train)
    train.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for the checkpoint and its records"
    )
    train.add_argument("--weights", metavar="W", help="auto, starter, scratch, a file, or a published name")
    train.add_argument("--model", metavar="M", help="architecture, such as yolo26n (default: that of the weights)")
    for name in ("epochs", "imgsz", "batch", "seed"):
        train.add_argument(f"--{name}", type=int, metavar="N", help=f"train.{name} of params.yaml")
    train.add_argument("--device", metavar="D", help="auto, cpu, or the numbers of GPUs such as 0,1")
    add_json(train)

    export = add_verb(
        verbs,
        "export",
        run_export,
        "make a model folder of a checkpoint: OpenVINO, ONNX, model.json",
        "hakka export build/training build/dataset --data sample --out build/model",
    )
    export.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="folder that `hakka train` wrote")
    _add_dataset(export)
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="model folder to write")
    add_json(export)

    evaluate = add_verb(
        verbs,
        "evaluate",
        run_evaluate,
        "measure a model folder, a version or a channel on the test images",
        "hakka evaluate build/model build/dataset --data sample --out build/evaluation",
    )
    evaluate.add_argument("model", metavar="MODEL", help="model folder, version, or champion")
    _add_dataset(evaluate)
    evaluate.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for metrics and report")
    add_json(evaluate)

    models = add_verb(
        verbs,
        "models",
        run_models,
        "list the registered versions and where they come from, or show the card of one, or a channel's history",
        "hakka models --card champion",
    )
    what = models.add_mutually_exclusive_group()
    what.add_argument("--card", metavar="VERSION", help="print the model card of a version, or of champion or canary")
    what.add_argument(
        "--history",
        nargs="?",
        const="champion",
        choices=CHANNELS,
        help="print what the champion, or another channel, pointed at and since when, oldest first",
    )
    add_json(models)

    promote = add_verb(
        verbs, "promote", run_promote, "point a channel at a registered version", "hakka promote 0123456789ab"
    )
    promote.add_argument("version", metavar="VERSION", help="12 hex digits, see `hakka models`")
    rollback = add_verb(
        verbs, "rollback", run_rollback, "go back to the champion before this one, or end the canary", "hakka rollback"
    )
    for parser in (promote, rollback):
        parser.add_argument("--channel", default="champion", choices=CHANNELS, help="default: champion")


def _add_dataset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="folder that `hakka convert` wrote")
    parser.add_argument("--data", type=Path, required=True, metavar="SRC", help="folder of the photos")


def run_train(options: argparse.Namespace) -> int:
    """Train."""
    import contextlib

    from hakka.detector.train import TrainParams, train

    names = ("weights", "model", "epochs", "imgsz", "batch", "seed", "device")
    params = read_section(TrainParams, "train", **{name: getattr(options, name) for name in names})
    with contextlib.redirect_stdout(sys.stderr if options.json else sys.stdout):
        record = train(options.dataset, options.data, options.out, params)
    if options.json:
        print_json({**record, "out": str(options.out)})
    else:
        print(
            f"{options.out / 'weights.safetensors'}: val mAP50 {record['best_val_map50']:.3f} "
            f"after {record['seconds']} s"
        )
    return 0


def run_export(options: argparse.Namespace) -> int:
    """Export."""
    from hakka.detector.export import export

    record = export(options.checkpoint, options.dataset, options.data, options.out)
    print_json(record) if options.json else print(f"{options.out}: version {record['version']}")
    return 0


def run_evaluate(options: argparse.Namespace) -> int:
    """Evaluate."""
    from hakka.detector.evaluate import evaluate

    metrics = evaluate(find_model(options.model), options.dataset, options.data, options.out)
    if options.json:
        print_json(metrics)
    else:
        print(
            f"version {metrics['version']}: mAP50 {metrics['map50']:.3f}, mAP50-95 {metrics['map50_95']:.3f} "
            f"on {metrics['images']} images\nreport  {options.out / 'report.html'}"
        )
    return 0


def run_models(options: argparse.Namespace) -> int:
    """List the versions, oldest first; the channels are named beside the version that they point at.

    One that was changed is said on stderr and does not hide the others; the exit code is then 2.
    """
    from hakka.registry import channel_history, look_at_versions

    if options.card:
        return _show_card(options)
    if options.history:
        return _show_history(options)
    settings = read_settings()
    registry = settings.registry
    histories = {channel: channel_history(registry, channel) for channel in CHANNELS}
    channels = {channel: steps[-1]["version"] if steps else None for channel, steps in histories.items()}
    records, problems = look_at_versions(registry)
    versions = [_with_run(record, settings) for record in records]
    for problem in problems:
        print(visible(f"error: {problem}"), file=sys.stderr)
    code = problems[0].exit_code if problems else 0
    if options.json:
        champion = next((record for record in versions if record["version"] == channels["champion"]), None)
        metrics = champion["metrics"] if champion else None
        print_json({"versions": versions, **channels, "metrics": metrics, "registry": str(registry)})
        return code
    for record in versions:
        marks = ", ".join(channel for channel, version in channels.items() if version == record["version"])
        print(f"{_version_line(record)}  {marks}".rstrip())
    if not versions and not problems:
        print(f"no version in {registry} yet: `hakka run` makes one")
    return code


def _with_run(record: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """A version's record with what only its run knows: ``params``, ``start`` and ``clearml_task``."""
    from hakka.history import run_of_version

    try:
        run = run_of_version(record, settings.runs, settings.registry)
    except InvalidInput:  # one damaged record of a run must not hide the versions
        run = {}
    training = run.get("training") or {}
    task = (run.get("clearml") or {}).get("task")
    return {**record, "params": training.get("params"), "start": training.get("start"), "clearml_task": task}


def _version_line(record: Mapping[str, Any]) -> str:
    """Version and lineage in one line; what is not known is a dash."""
    known = {
        "data": record["data"].get("revision"),
        "code": (record.get("code") or {}).get("commit"),
        "run": record.get("kfp_run"),
        "task": record["clearml_task"],
    }
    lengths = {"data": 16, "code": 7}
    lineage = "  ".join(f"{name} {(value or '-')[: lengths.get(name)]}" for name, value in known.items())
    head = f"{record['version']}  {record['created']}  mAP50 {record['metrics']['map50']:.3f}"
    return f"{head}  {len(record['names'])} classes  {lineage}"


def _show_card(options: argparse.Namespace) -> int:
    from hakka.cards import version_card
    from hakka.detector.modelfile import read_model_info
    from hakka.history import run_of_version
    from hakka.registry import resolve

    settings = read_settings()
    version = read_model_info(resolve(options.card, settings.registry)).raw
    card = version_card(version, run_of_version(version, settings.runs, settings.registry))
    if options.json:
        print_json({"version": version["version"], "card": card.markdown})
    else:
        print(card.markdown, end="")
    return 0


def _show_history(options: argparse.Namespace) -> int:
    from hakka.registry import channel_history

    steps = channel_history(read_settings().registry, options.history)
    if options.json:
        print_json({"channel": options.history, "steps": steps})
    elif steps:
        print_rows([[step["time"], step["action"], step["version"] or "-"] for step in steps])
    else:
        print(f"{options.history}: nothing was ever promoted")
    return 0


def run_promote(options: argparse.Namespace) -> int:
    """Promote."""
    from hakka.registry import promote

    ended = promote(read_settings().registry, options.version, options.channel)
    print(f"{options.channel}: {options.version}")
    if ended:
        print("canary: empty, as its version is the champion now")
    return 0


def run_rollback(options: argparse.Namespace) -> int:
    """Roll back the champion, or end the canary."""
    from hakka.registry import rollback

    print(f"{options.channel}: {rollback(read_settings().registry, options.channel) or 'empty'}")
    return 0

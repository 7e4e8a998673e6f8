"""``python -m pipelines run | compile | submit | schedule``."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hakka.errors import HakkaError
from hakka.signals import Interrupted, interruptible

RUN_OPTIONS = (
    *("data", "data_revision", "annotation_format", "shards"),
    *("weights", "model", "epochs", "imgsz", "batch", "seed", "device"),
    *("variants", "trials", "latency_budget_ms", "target"),
)
RUN_EXAMPLE = "example: hakka run --data photos --epochs 20 --imgsz 320"
SUBMIT_EXAMPLE = "example: hakka submit --host http://localhost:8888 --param data=/var/lib/hakka/data"
SCHEDULE_EXAMPLE = "example: hakka schedule --host http://localhost:8888 --cron '0 0 3 * * 1'"
COMPILE_EXAMPLE = "example: hakka compile --out hakka-training.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives its exit code: 0 done, 1 a check or the gate said no, 2 bad input, 130 interrupted."""
    options = build_parser().parse_args(argv)
    try:
        with interruptible():
            code: int = options.command(options)
    except Interrupted:
        code = 130
        _fail("interrupted", as_json=getattr(options, "json", False))
    except HakkaError as error:
        code = error.exit_code
        _fail(str(error), as_json=getattr(options, "json", False))
    except OSError as error:
        code = 2
        _fail(f"{error.filename or 'this machine'}: {error.strerror or error}", as_json=getattr(options, "json", False))
    return code


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="hakka", description="Hakka's training pipeline.")
    commands = parser.add_subparsers(required=True, metavar="run | compile | submit | schedule")

    run = _add_command(commands, "run", "run the training pipeline on this machine", RUN_EXAMPLE)
    run.add_argument("--data", required=True, metavar="DIR", help="folder of photos and annotation files")
    run.add_argument(
        "--revision",
        dest="data_revision",
        metavar="REV",
        help="git revision of the data under DVC (default: as it lies)",
    )
    run.add_argument(
        "--format", dest="annotation_format", metavar="F", help="annotation format, as of hakka convert (default: auto)"
    )
    run.add_argument("--shards", type=int, metavar="N", help="steps that share the look at the images (default: 1)")
    run.add_argument("--weights", metavar="W", help="weights to start from (default: train.weights of params.yaml)")
    run.add_argument("--model", metavar="M", help="architecture, such as yolo26n (default: that of the weights)")
    for name, text in (
        ("epochs", "passes over the training images"),
        ("imgsz", "side of the training image in pixels"),
        ("batch", "images a training step"),
        ("seed", "seed of every random choice"),
    ):
        run.add_argument(f"--{name}", type=int, metavar="N", help=text)
    run.add_argument("--device", metavar="D", help="auto, cpu, or the numbers of GPUs such as 0,1")
    run.add_argument(
        "--variants",
        metavar="V",
        help="what to train: a list of mappings of settings as JSON, or a YAML file with one, at most 100 "
        "(default: one, as above)",
    )
    run.add_argument("--trials", type=int, metavar="N", help="short trainings that search for settings (default: 0)")
    run.add_argument(
        "--latency-budget",
        dest="latency_budget_ms",
        type=float,
        metavar="MS",
        help="milliseconds a photo that a variant may take (default: any)",
    )
    run.add_argument("--target", metavar="T", help="where to serve: auto, local or kubernetes (default: auto)")
    run.add_argument("--json", action="store_true", help="end stdout with one JSON object")
    run.set_defaults(command=run_command)

    compiling = _add_command(
        commands, "compile", "write the pipeline for the Kubeflow Pipelines dashboard", COMPILE_EXAMPLE
    )
    compiling.add_argument(
        "--out", type=Path, metavar="FILE", help="file to write (default: the one in the repository)"
    )
    compiling.set_defaults(command=compile_command)

    submit = _add_command(commands, "submit", "upload the pipeline to a cluster and start a run", SUBMIT_EXAMPLE)
    schedule = _add_command(commands, "schedule", "run the pipeline on a cluster again and again", SCHEDULE_EXAMPLE)
    for command in (submit, schedule):
        command.add_argument("--host", required=True, metavar="URL", help="endpoint of Kubeflow Pipelines")
        command.add_argument("--namespace", metavar="N", help="profile's namespace in a multi-user installation")
        command.add_argument("--service-account", metavar="S", help="what the steps run as, such as hakka-pipeline")
        command.add_argument("--experiment", default="hakka", metavar="E", help="experiment (default: hakka)")
        command.add_argument(
            "--param", action="append", default=[], metavar="K=V", help="pipeline parameter, repeatable"
        )
        command.add_argument("--json", action="store_true", help="print one JSON object")
    schedule.add_argument("--cron", required=True, metavar="CRON", help="six fields, seconds first")
    submit.set_defaults(command=submit_command)
    schedule.set_defaults(command=schedule_command)
    return parser


def _add_command(commands: Any, name: str, about: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=about, description=f"{about[0].upper()}{about[1:]}.", epilog=example
    )
    return parser


def run_command(options: argparse.Namespace) -> int:
    """Run on this machine; progress goes to stderr, the summary to stdout."""
    from hakka.run_page import summarize_run
    from hakka.settings import read_settings
    from pipelines.local import run_local
    from pipelines.submit import read_list

    arguments = {name: value for name in RUN_OPTIONS if (value := getattr(options, name)) is not None}
    if "variants" in arguments:
        arguments["variants"] = read_list(arguments["variants"], "--variants")
    code, record = run_local(arguments, read_settings())
    if "error" in record:
        print(f"error: {record['error']}", file=sys.stderr)
    elif not options.json:
        print(f"{summarize_run(record)}\nreport    {record['paths']['report']}")
    if options.json:
        print(json.dumps(brief(record, str(read_settings().registry))))
    return code


def brief(record: dict[str, Any], registry: str) -> dict[str, Any]:
    """What another program needs of a run record; what an unfinished run does not have is null or empty."""
    metrics = {name: value for name, value in record.get("metrics", {}).items() if isinstance(value, int | float)}
    return {
        "version": record.get("version"),
        "decision": record.get("decision"),
        "reason": record.get("reason", record.get("error")),
        "status": record["status"],
        "metrics": metrics,
        "counts": record.get("counts", {}),
        "paths": {**record["paths"], "registry": registry},
    }


def compile_command(options: argparse.Namespace) -> int:
    """Write the compiled pipeline."""
    from pipelines.compiling import COMPILED, write_compiled

    print(write_compiled(options.out or COMPILED))
    return 0


def submit_command(options: argparse.Namespace) -> int:
    """Start one run on a cluster."""
    from pipelines.submit import Endpoint, parse_arguments, submit_run

    endpoint = Endpoint(options.host, options.namespace, options.service_account)
    started = submit_run(endpoint, options.experiment, parse_arguments(options.param))
    print(json.dumps(started) if options.json else f"run {started['run']}: {started['page']}")
    return 0


def schedule_command(options: argparse.Namespace) -> int:
    """Schedule runs on a cluster."""
    from pipelines.submit import Endpoint, parse_arguments, schedule_runs

    endpoint = Endpoint(options.host, options.namespace, options.service_account)
    made = schedule_runs(endpoint, options.experiment, parse_arguments(options.param), options.cron)
    print(json.dumps(made) if options.json else f"schedule {made['schedule']} at {options.cron}")
    return 0


def _fail(sentence: str, *, as_json: bool) -> None:
    print(f"error: {sentence}", file=sys.stderr)
    if as_json:
        print(json.dumps({"version": None, "decision": None, "reason": sentence, "status": "failed"}))


if __name__ == "__main__":
    sys.exit(main())

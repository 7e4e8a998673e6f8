"""A run on this machine: no cluster, no account, no Docker.

The pipeline runs in a worker process with a process group of its own. Whatever ends this process ends the worker and
every step with it, and what finished before stays and is reused by the next run.
"""

import hashlib
import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hakka.errors import InvalidInput
from hakka.files import own_path, read_json, real_path, write_json
from hakka.params import PARAMS_FILE, read_params
from hakka.run import RUN_ID_VARIABLE, new_run_id
from hakka.settings import Settings
from hakka.signals import Interrupted, ignore_signals

ROOT = Path(__file__).resolve().parent.parent
SHAPES_RESULTS = ("kfp", "numpy", "pillow", "torch", "ultralytics", "openvino", "nncf")
# sections of params.yaml that no reused step reads
SHAPES_NOTHING = ("gate", "monitor", "cluster", "scan", "variants", "search")
GRACE = 5.0
INTERRUPTED = 130
KILLED = 137
LOCK = ".lock"
TURN = "-iteration-"  # what kfp.local puts into the name of such a folder


def run_local(arguments: dict[str, Any], settings: Settings) -> tuple[int, dict[str, Any]]:
    """Run the training pipeline here; gives the exit code and the run record.

    Call it in ``interruptible()``. ``arguments`` are pipeline parameters; ``data`` and ``weights`` may be relative to
    the working folder. The code is 0 if the detector was promoted, 1 if a check or the gate said no, 2 on bad input,
    130 if a signal ended it.

    Raises:
        InvalidInput: ``data`` is not a folder, or a parameter is out of range.
        NotFound: the weights of a training do not exist, as far as that is known without the network.
    """
    arguments = check_arguments(arguments)
    settle_killed_runs(settings.runs)
    folder = settings.runs / new_run_id()
    try:
        folder.mkdir(parents=True)
        lock = FileLock(folder / LOCK)
        lock.acquire()
        with tempfile.TemporaryDirectory(prefix="hakka-", ignore_cleanup_errors=True) as scratch:
            code = _supervise(folder, settings, Path(scratch), arguments)
    except Interrupted:
        code = INTERRUPTED
    ignore_signals()
    if code != INTERRUPTED and not (folder / "run.json").is_file():
        code = InvalidInput.exit_code  # a worker that broke off has no say about checks and gate
    return code, _settle(folder, code, arguments)


def settle_killed_runs(runs: Path) -> None:
    """Tidy up after runs whose process was killed before it could: a run that is alive holds its folder's lock."""
    for lock in runs.glob(f"*/{LOCK}"):
        if not (lock.parent / "run.json").is_file():
            with suppress(Timeout), FileLock(lock, blocking=False):
                _settle(lock.parent, KILLED, {})
        if (lock.parent / "run.json").is_file():
            lock.unlink(missing_ok=True)


def check_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments with whole paths, after the checks that need no work."""
    from dataclasses import fields

    from hakka.data.shards import ScanParams
    from hakka.deploy import TARGETS
    from hakka.detector.export import ExportParams
    from hakka.detector.gate import GateParams
    from hakka.detector.search import check_plan, check_starts
    from hakka.detector.train import TrainParams
    from hakka.detector.variants import VariantParams
    from hakka.params import read_section

    data = real_path(own_path(arguments["data"]))  # however it is named, it is the same data
    if not data.is_dir():
        raise InvalidInput(f"data: must be a folder of photos and annotations, got {data}")
    listed = read_section(VariantParams, "variants", latency_budget_ms=arguments.get("latency_budget_ms")).settings
    names = {field.name for field in fields(TrainParams)}
    own = {key: value for key, value in arguments.items() if key in names}
    variants = arguments.get("variants", listed)
    params, _, planned, searching = check_plan(own, variants, arguments.get("trials"))
    check_starts(params, planned, searching)
    read_section(ScanParams, "scan", shards=arguments.get("shards"))
    read_section(GateParams, "gate")
    read_section(ExportParams, "export")
    if arguments.get("target", "auto") not in TARGETS:
        raise InvalidInput(f"target: must be one of {', '.join(TARGETS)}, got {arguments['target']!r}")
    whole = [{**entry, "weights": _whole_path(entry["weights"])} if "weights" in entry else entry for entry in variants]
    named = {"variants": whole} if whole else {}
    return {**arguments, **named, "data": str(data), "weights": _whole_path(params.weights)}


def _whole_path(weights: str) -> str:
    path = own_path(weights)
    if not path.is_file():
        return weights
    return str(real_path(path.parent) / path.name)  # of a link its own name, which may tell the architecture


def digest_code(weights: Collection[str], settings: Settings) -> str:
    """A digest of everything but the inputs that shapes a step's output: code, parameters, weights, libraries.

    ``weights`` are all that the run's trainings may start from, by name or path.

    kfp's own key knows a component's few lines and inputs, not the code that they call, and the name of the weights,
    not what the name stands for today.
    """
    from hakka.detector.weights import local_checkpoints, look_up

    files = [
        path
        for folder in ("hakka", "components", "checks")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() and path.suffix != ".pyc"
    ]
    found = [settings.weights, *(local_checkpoints(settings) if "auto" in weights else [])]
    found += [look_up(name, settings) for name in weights]
    starts = sorted({path for path in found if path is not None and path.is_file()})
    shaping = {name: section for name, section in read_params(PARAMS_FILE).items() if name not in SHAPES_NOTHING}
    digest = hashlib.sha256(f"{sys.version} {_versions()} {json.dumps(shaping, sort_keys=True)}".encode())
    for path in (*files, *starts):
        digest.update(f"\0{path}\0{hashlib.sha256(path.read_bytes()).hexdigest()}".encode())
    return digest.hexdigest()[:16]


def _versions() -> list[str]:
    versions = []
    for name in SHAPES_RESULTS:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{name}=={importlib.metadata.version(name)}")
    return versions


def _supervise(folder: Path, settings: Settings, scratch: Path, arguments: dict[str, Any]) -> int:
    """Start the worker, wait for it, and leave no process behind; gives its exit code."""
    others = [entry["weights"] for entry in arguments.get("variants", []) if "weights" in entry]
    cache = settings.cache / digest_code({arguments["weights"], *others}, settings)
    command = [sys.executable, "-m", "pipelines.worker", str(folder), str(cache), str(scratch), json.dumps(arguments)]
    worker = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=sys.stderr,
        env=_environment(folder, settings, scratch),
        start_new_session=True,
    )
    try:
        return worker.wait()
    except Interrupted:
        for number in (signal.SIGINT, signal.SIGTERM):
            _signal_group(worker.pid, number)
            with suppress(subprocess.TimeoutExpired):
                worker.wait(GRACE)
                break
        raise
    finally:
        _signal_group(worker.pid, signal.SIGKILL)
        worker.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def _environment(folder: Path, settings: Settings, scratch: Path) -> dict[str, str]:
    """The environment of the steps: unbuffered, so that progress shows as it happens."""
    return {
        **os.environ,
        RUN_ID_VARIABLE: folder.name,
        "HAKKA_HOME": str(settings.home),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
        "TMPDIR": str(scratch),
    }


def step_folders(run: Path) -> list[Path]:
    """The folder of every step that a run has started; those of a loop lie in a folder for each of its turns."""
    places = list(run.glob("pipeline/*/*"))
    turns = [place for place in places if TURN in place.name]
    return [place for place in places if place not in turns] + [step for turn in turns for step in turn.iterdir()]


def _settle(folder: Path, code: int, arguments: dict[str, Any]) -> dict[str, Any]:
    """The run's record; one is written here if the worker could not. A step that was cut off leaves nothing."""
    record = folder / "run.json"
    if record.is_file():
        return dict(read_json(record))
    for step in step_folders(folder):
        if not (step / "executor_output.json").is_file():
            shutil.rmtree(step, ignore_errors=True)
    interrupted = code == INTERRUPTED
    broken = "it was killed" if code == KILLED else f"the pipeline's process ended with code {code}"
    written = {
        "format": 1,
        "run": folder.name,
        "status": "interrupted" if interrupted else "failed",
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "parameters": arguments,
        "error": "interrupted; the steps that finished are reused by the next run"
        if interrupted
        else f"{broken} before its record was written; the steps that finished are reused by the next run",
        "paths": {"run": str(folder), "log": str(folder / "log.txt")},
    }
    write_json(record, written)
    return written

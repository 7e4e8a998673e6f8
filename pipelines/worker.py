"""The process that runs the pipeline here: ``python -m pipelines.worker RUN CACHE SCRATCH ARGUMENTS``.

The first three are folders, the last is JSON.

It leads a process group of its own, so that whoever started it can end it with everything below it. Its standard input
is a pipe that is never written to: when that ends, the starter is gone and the group ends itself.
"""

import json
import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, redirect_stdout, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

from hakka.errors import HakkaError
from hakka.files import read_json, write_json, write_whole
from hakka.run import copy_cards
from hakka.run_page import render_run
from pipelines.progress import Failure, Progress


def main(run_folder: Path, cache: Path, scratch: Path, arguments: dict[str, Any]) -> int:
    """Run the pipeline, write ``run.json`` and ``report.html`` into ``run_folder``, and give the exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_end_with_starter, args=(scratch,), daemon=True).start()
    started = time.monotonic()
    with (run_folder / "log.txt").open("w") as log, _provide_python(scratch / "bin", not cache.is_dir()) as server:
        progress = Progress(log, _show)
        signal.signal(signal.SIGINT, progress.interrupt)
        record = _run(run_folder, cache, scratch, arguments, progress)
        if progress.failure is not None and server is not None:
            server.kill()  # it would wait for the steps that run beside the one that failed
    failure = progress.failure
    record |= {
        "run": run_folder.name,
        "status": "done" if failure is None else "refused" if failure.exit_code == 1 else "failed",
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started, 3),
        "parameters": arguments,
        "steps": [asdict(step) for step in progress.steps],
    }
    record["paths"] = {**record.get("paths", {}), "run": str(run_folder), "log": str(run_folder / "log.txt")}
    if failure is not None:
        write_json(run_folder / "run.json", record | {"error": failure.sentence})
        return failure.exit_code
    record["paths"]["report"] = str(run_folder / "report.html")
    write_whole(run_folder / "report.html", render_run(record, run_folder))
    write_json(run_folder / "run.json", record)
    return 0 if record["decision"] == "promote" else 1


def _run(run_folder: Path, cache: Path, scratch: Path, arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The record that the pipeline's last step wrote, or an empty one and ``progress.failure``."""
    from pipelines.compiling import load_for_local

    try:
        outputs = run_here(load_for_local(), arguments, run_folder, cache, scratch, progress)
        record = Path(outputs["record"].path)
        copy_cards(record, run_folder)
        return dict(read_json(record / "run.json"))
    except HakkaError as error:
        progress.failure = Failure(str(error), error.exit_code)
    except Exception as error:  # kfp raises many kinds, also of its own cache files; none of them is the gate's no
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        progress.failure = progress.failure or Failure(f"the pipeline stopped: {reason}", 2)
    return {}


def run_here(
    pipeline: Callable[..., Any],
    arguments: dict[str, Any],
    folder: Path,
    cache: Path,
    scratch: Path,
    progress: Progress,
) -> dict[str, Any]:
    """The outputs of a pipeline that kfp.local runs in this process, with its steps under ``folder``/pipeline.

    Raises:
        RuntimeError: a step failed; which one and why is in ``progress.failure``.
    """
    from kfp import local
    from kfp.local import logging_utils

    logging_utils.indented_print = nullcontext  # kfp's swaps print for all threads, so shards would leave it swapped
    warnings.simplefilter("ignore")
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    root.addFilter(progress.filter)
    local.init(
        local.SubprocessRunner(use_venv=False),
        pipeline_root=str(folder / "pipeline"),
        workspace_root=str(scratch / "workspace"),
        enable_caching=True,
        cache_root=str(cache),
    )
    try:
        with redirect_stdout(progress):
            return dict(pipeline(**arguments).outputs)
    finally:
        root.removeFilter(progress.filter)


def _show(line: str) -> None:
    sys.stderr.write(line + "\n")  # kfp patches print
    sys.stderr.flush()


def _end_with_starter(scratch: Path) -> None:
    os.read(0, 1)
    shutil.rmtree(scratch, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


def _wait_for_children() -> None:
    """Let the steps, which got the signal too, tidy up; the starter ends whoever takes too long."""
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def _provide_python(folder: Path, will_train: bool) -> "AbstractContextManager[subprocess.Popen[bytes] | None]":
    """Let ``python3`` be this interpreter, or a process of the fork server that has imported what a step needs.

    Where it is not sure that the run ``will_train``, torch is imported only when a step needs it. Gives the server,
    which ends when the context is left; outside of Linux there is none, as not all libraries there take a fork.

    kfp writes the interpreter's path unquoted into a shell command, and over every ``python3`` in a step's arguments.
    With a plain ``python3`` in its place, folders with spaces and data under a ``python3`` folder work too.
    """
    folder.mkdir(parents=True)
    client = [sys.executable, "-I", "-S", str(Path(__file__).with_name("forkclient.py")), str(folder), sys.executable]
    script = folder / "python3"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(client)} "$@"\n')
    script.chmod(0o755)
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    command = [sys.executable, "-m", "pipelines.forkserver", str(folder), *(["now"] if will_train else [])]
    sys.executable = "python3"
    if sys.platform != "linux":
        return nullcontext()
    environment = {**os.environ, "_KFP_RUNTIME": "true"}  # kfp then imports no more than a step needs
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=DEVNULL, stderr=DEVNULL)


if __name__ == "__main__":
    try:
        code = main(*map(Path, sys.argv[1:4]), json.loads(sys.argv[4]))
    except KeyboardInterrupt:
        _wait_for_children()
        code = 130
    sys.exit(code)

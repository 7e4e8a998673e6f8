"""Versions of the data, by DVC. Only this module knows DVC, and it talks to its command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

from hakka.data.fingerprint import fingerprint
from hakka.errors import InvalidInput, Unavailable


def revision(folder: Path) -> str:
    """The name of a data folder's content: ``dvc-<md5>`` if DVC tracks it unchanged, else ``local-<digest>``.

    Raises:
        InvalidInput: the folder is missing or empty.
        Unavailable: the folder is tracked and DVC does not run.
    """
    local = fingerprint(folder)
    record = _record(folder)
    if not record.is_file() or _is_changed(record):
        return f"local-{local}"
    return f"dvc-{_tracked_md5(record)}"


def track(folder: Path) -> str:
    """Put a data folder under DVC (``dvc add``: the cache links to the files where it can) and return its revision.

    Raises:
        InvalidInput: the folder is missing, empty, or not inside a DVC repository.
        Unavailable: DVC does not run.
    """
    fingerprint(folder)
    run_dvc(["add", folder.resolve().name], cwd=folder.resolve().parent)
    return revision(folder)


def run_dvc(arguments: list[str], cwd: Path) -> str:
    """What ``dvc ARGUMENTS`` prints, run in ``cwd`` with its analytics and update check off.

    Raises:
        InvalidInput: DVC refused.
        Unavailable: DVC is not installed.
    """
    environ = dict(os.environ, DVC_NO_ANALYTICS="1", DO_NOT_TRACK="1", CI="true")  # CI: no update check
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    if "No module named dvc" in done.stderr:
        raise Unavailable("dvc is not installed: pip install -r requirements/train.txt")
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        message = next((line for line in lines if line.startswith("ERROR")), lines[-1])
        raise InvalidInput(f"dvc {' '.join(arguments)}: {message.removeprefix('ERROR: ')}")
    return done.stdout


def _record(folder: Path) -> Path:
    folder = folder.resolve()
    return folder.with_name(f"{folder.name}.dvc")


def _is_changed(record: Path) -> bool:
    status = run_dvc(["status", "--json", record.name], cwd=record.parent)
    return bool(json.loads(status or "{}"))


def _tracked_md5(record: Path) -> str:
    try:
        return str(yaml.safe_load(record.read_bytes())["outs"][0]["md5"])
    except (yaml.YAMLError, KeyError, IndexError, TypeError):
        raise InvalidInput(f"{record}: not a DVC file: no outs[0].md5") from None

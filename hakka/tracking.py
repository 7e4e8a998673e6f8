"""One way to hand a finished run to an experiment tracker; the only module that imports ClearML.

The run's own files are the truth and ClearML mirrors them. ClearML runs in a process of its own
(``python -m hakka.tracking RECORD.json ANSWER.json``), so that neither a hang nor a crash of it can hold up or fail a
run, and so that its patches and exit hooks never touch this process.
"""

import logging
import os
import re
import shutil
import signal
import site
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from hakka.errors import InvalidInput, Unavailable
from hakka.files import read_json, write_json

LOGGER = logging.getLogger(__name__)
Row = Mapping[str, Any]

# Every automatic hook off: the frameworks because the run reports itself, the repository detection because it scans
# packages and asks updates.clear.ml for new versions, also offline.
HOOKS = (
    *("detect_repository", "hydra", "scikit", "joblib", "matplotlib", "tensorflow", "tensorboard", "tfdefines"),
    *("pytorch", "megengine", "xgboost", "catboost", "fastai", "lightgbm", "gradio"),
)
# Without this an offline session waits ten seconds for a reporter process that never answers.
OFFLINE_CONFIG = "sdk { development { report_use_subprocess: false } }\n"
INHERITED = ("TASK_ID", "PROC_MASTER_ID")
# The server's line in ClearML's configuration, as clearml-init writes it.
API_SERVER = re.compile(r"""^\s*(?:api\.)?"?api_server"?\s*[:=]\s*"?([^"\s,#]+)""", re.MULTILINE)
REACH_SECONDS = 3.0


@dataclass(frozen=True)
class RunRecord:
    """What a tracker is told of a run.

    ``params``: sections of parameters; ``history``: one mapping of numbers an epoch, ``epoch`` among them or counted
    from 1; ``metrics``: numbers, or mappings of them (a table if its entries are mappings again, as per class);
    ``artifacts``: files by name.
    """

    name: str
    project: str = "hakka"
    params: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Row] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    tags: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values, artifacts as absolute paths."""
        artifacts = {name: str(Path(path).absolute()) for name, path in self.artifacts.items()}
        return {**asdict(self), "artifacts": artifacts}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "RunRecord":
        """The record of ``to_json``."""
        artifacts = {name: Path(path) for name, path in value["artifacts"].items()}
        return cls(**{**value, "artifacts": artifacts})


class Tracker(Protocol):
    """Where a run's figures go."""

    def params(self, values: Mapping[str, Any]) -> None:
        """Take parameters by ``section/name``."""

    def scalar(self, title: str, series: str, step: int, value: float) -> None:
        """Take one point of a curve."""

    def result(self, name: str, value: float) -> None:
        """Take one final figure."""

    def table(self, name: str, rows: Sequence[Sequence[Any]]) -> None:
        """Take a table; the first row is its head."""

    def artifact(self, name: str, path: Path) -> None:
        """Take a file."""

    def close(self) -> None:
        """Finish the run."""


class MemoryTracker:
    """A tracker that keeps what it is told, in plain lists and mappings."""

    def __init__(self) -> None:
        self.parameters: dict[str, Any] = {}
        self.scalars: list[tuple[str, str, int, float]] = []
        self.results: dict[str, float] = {}
        self.tables: dict[str, list[list[Any]]] = {}
        self.artifacts: dict[str, Path] = {}
        self.closed = False

    def params(self, values: Mapping[str, Any]) -> None:
        """Keep parameters."""
        self.parameters.update(values)

    def scalar(self, title: str, series: str, step: int, value: float) -> None:
        """Keep one point."""
        self.scalars.append((title, series, step, value))

    def result(self, name: str, value: float) -> None:
        """Keep one figure."""
        self.results[name] = value

    def table(self, name: str, rows: Sequence[Sequence[Any]]) -> None:
        """Keep a table."""
        self.tables[name] = [list(row) for row in rows]

    def artifact(self, name: str, path: Path) -> None:
        """Keep a file's path."""
        self.artifacts[name] = path

    def close(self) -> None:
        """Keep that the run ended."""
        self.closed = True


class ClearMLTracker:
    """A ClearML Task; offline it ends as a zip file that ``clearml`` can import later."""

    def __init__(self, name: str, project: str, tags: Sequence[str], *, offline: bool) -> None:
        from clearml import Task

        Task.set_offline(offline)
        self.task = Task.init(
            project_name=project,
            task_name=name,
            tags=list(tags),
            reuse_last_task_id=False,
            auto_connect_arg_parser=False,
            auto_connect_frameworks=dict.fromkeys(HOOKS, False),
            auto_resource_monitoring=False,
            auto_connect_streams=False,
        )
        self._log = self.task.get_logger()
        self.id = str(self.task.id)
        self.session = Path(f"{self.task.get_offline_mode_folder()}.zip") if offline else None

    def params(self, values: Mapping[str, Any]) -> None:
        """Set hyperparameters."""
        self.task.set_parameters(dict(values))

    def scalar(self, title: str, series: str, step: int, value: float) -> None:
        """Report one point."""
        self._log.report_scalar(title, series, value=value, iteration=step)

    def result(self, name: str, value: float) -> None:
        """Report one single value."""
        self._log.report_single_value(name, value)

    def table(self, name: str, rows: Sequence[Sequence[Any]]) -> None:
        """Report a table plot."""
        self._log.report_table(name, name, iteration=0, table_plot=[list(row) for row in rows])

    def artifact(self, name: str, path: Path) -> None:
        """Upload a file and wait for it."""
        self.task.upload_artifact(name, path, wait_on_upload=True)

    def close(self) -> None:
        """Close the task."""
        self.task.close()


def replay(record: RunRecord, tracker: Tracker) -> None:
    """Tell a tracker everything of a run; artifacts that do not exist are left out."""
    tracker.params(dict(_flatten(record.params)))
    for step, row in enumerate(record.history, start=1):
        _replay_epoch(int(row.get("epoch", step)), row, tracker)
    for name, value in record.metrics.items():
        _replay_metric(name, value, tracker)
    for name, path in record.artifacts.items():
        if path.exists():
            tracker.artifact(name, path)
    tracker.close()


def _replay_epoch(step: int, row: Row, tracker: Tracker) -> None:
    for column, value in row.items():
        if column != "epoch" and _is_number(value):
            title, _, series = column.rpartition("/")
            tracker.scalar(title or series, series, step, float(value))


def _replay_metric(name: str, value: Any, tracker: Tracker) -> None:
    if _is_number(value):
        tracker.result(name, float(value))
    elif isinstance(value, Mapping) and value and all(isinstance(entry, Mapping) for entry in value.values()):
        columns = list(dict.fromkeys(column for entry in value.values() for column in entry))
        rows = [[key, *(entry.get(column, "") for column in columns)] for key, entry in value.items()]
        tracker.table(name, [["", *columns], *rows])
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            _replay_metric(f"{name}/{key}", entry, tracker)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def mirror_run(record: RunRecord, offline_dir: Path, *, timeout: float = 120.0) -> dict[str, Any]:
    """Mirror a finished run into ClearML: on its server if one is configured, else as ``offline_dir/<name>.zip``.

    Gives ``{"task": id | None, "session": path of the zip | None, "mode": "online"|"offline", "warning": str | None}``.
    A server that cannot be reached, or does not answer in ``timeout`` seconds, leads to an offline session. Never
    raises: what went wrong is logged as one warning and returned.
    """
    online = _is_configured(os.environ)
    answer: dict[str, Any] = {"task": None, "session": None, "mode": "online" if online else "offline", "warning": None}
    try:
        offline_dir.mkdir(parents=True, exist_ok=True)
        if online:
            away = _find_away(os.environ)
            answer |= {"warning": away} if away else _try_mirror(record, offline_dir, timeout, offline=False)
        if not answer["task"]:
            reached = answer["warning"]
            answer |= {"mode": "offline", "warning": None} | _try_mirror(record, offline_dir, timeout, offline=True)
            answer["warning"] = " and ".join(filter(None, (reached, answer["warning"]))) or None
    except Exception as error:  # a mirror must never fail the run that it mirrors
        answer["warning"] = f"ClearML: {type(error).__name__}: {error}"
    if answer["warning"]:
        LOGGER.warning("run %s is complete, its mirror is not: %s", record.name, answer["warning"])
    return answer


def import_session(session: Path, *, timeout: float = 600.0) -> str:
    """Upload an offline session (a zip file of ``mirror_run``) to the configured server; gives the new task's id.

    Raises:
        InvalidInput: there is no such file, or no server is configured.
        Unavailable: the server did not take it; the session stays as it is.
    """
    if not session.is_file():
        raise InvalidInput(f"{session}: no such ClearML session")
    if not _is_configured(os.environ):
        raise InvalidInput("no ClearML server is configured: run clearml-init, or set CLEARML_API_HOST and its keys")
    if away := _find_away(os.environ):
        raise Unavailable(f"{session}: {away}")
    with tempfile.TemporaryDirectory(prefix=".import-", dir=session.parent) as name:
        scratch = Path(name)
        write_json(scratch / "record.json", {"session": str(session.absolute())})
        failure = _run_apart(scratch, _environment(scratch, offline=False), timeout)
        answer = {} if failure else read_json(scratch / "answer.json")
    if not answer.get("task"):
        raise Unavailable(f"{session}: ClearML did not take the session: {failure or 'it gave no task'}")
    return str(answer["task"])


def _is_configured(environ: Mapping[str, str]) -> bool:
    if environ.get("CLEARML_OFFLINE_MODE", "").lower() in ("1", "true", "yes", "on"):
        return False
    return _config_file(environ).is_file() or any(
        environ.get(f"CLEARML_{name}") for name in ("API_HOST", "API_ACCESS_KEY", "AUTH_TOKEN")
    )


def _config_file(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("CLEARML_CONFIG_FILE") or "~/clearml.conf").expanduser()


def _find_away(environ: Mapping[str, str]) -> str:
    """Why no connection to the configured server can be made; empty where one can, or where only ClearML can tell.

    ClearML itself tries again for minutes. It is left to judge a server that is slow, behind a proxy or unnamed.
    """
    address = environ.get("CLEARML_API_HOST", "")
    try:
        if not address and (config := _config_file(environ)).is_file():
            address = next(iter(API_SERVER.findall(config.read_text())[-1:]), "")
        parts = urlsplit(address)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except (OSError, ValueError):
        return ""
    if not parts.hostname or port is None or (parts.scheme in getproxies() and not proxy_bypass(parts.hostname)):
        return ""
    try:
        socket.create_connection((parts.hostname, port), REACH_SECONDS).close()
    except TimeoutError:
        return ""
    except OSError as error:
        return f"ClearML server: nobody answers at {parts.hostname}:{port}: {error.strerror or error}"
    return ""


def _try_mirror(record: RunRecord, offline_dir: Path, timeout: float, *, offline: bool) -> dict[str, Any]:
    scratch = Path(tempfile.mkdtemp(dir=offline_dir, prefix=".session."))
    try:
        write_json(scratch / "record.json", {"record": record.to_json(), "offline": offline})
        failure = _run_apart(scratch, _environment(scratch, offline=offline), timeout)
        if failure:
            return {"warning": f"ClearML {'offline' if offline else 'server'}: {failure}"}
        answer = read_json(scratch / "answer.json")
        if answer["session"]:
            target = offline_dir / f"{re.sub(r'[^A-Za-z0-9._-]', '_', record.name)}.zip"
            os.replace(answer["session"], target)
            answer["session"] = str(target)
        return dict(answer)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _environment(scratch: Path, *, offline: bool) -> dict[str, str]:
    # A task that this process may itself be part of must not be taken for ours.
    environ = {name: value for name, value in os.environ.items() if name.partition("_")[2] not in INHERITED}
    root = str(Path(__file__).resolve().parent.parent)
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environ.get("PYTHONPATH"))))
    if offline:
        config = scratch / "clearml.conf"
        config.write_text(OFFLINE_CONFIG)
        # ClearML keeps a file in the home folder too; Python's own user packages stay where they are.
        environ |= {"PYTHONUSERBASE": site.getuserbase(), "HOME": str(scratch), "CLEARML_CONFIG_FILE": str(config)}
        environ |= {"CLEARML_CACHE_DIR": str(scratch / "cache"), "CLEARML_OFFLINE_MODE": "1"}
    return environ


def _run_apart(scratch: Path, environ: Mapping[str, str], timeout: float) -> str | None:
    """Run this module in a process group of its own; give what went wrong."""
    command = [sys.executable, "-m", "hakka.tracking", str(scratch / "record.json"), str(scratch / "answer.json")]
    output = scratch / "output.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=scratch,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            return f"no answer within {timeout:g} s"
        finally:
            _end_group(process)
    if code:
        lines = output.read_text(errors="replace").strip().splitlines()
        return f"ended with {code}: {lines[-1] if lines else 'no output'}"
    return None


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    # ClearML forks a reporter, which would outlive a killed parent.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def main(arguments: Sequence[str]) -> None:
    """Mirror the record, or import the session, of the first file and write the answer as the second."""
    source, target = (Path(argument) for argument in arguments)
    request = read_json(source)
    if "session" in request:
        from clearml import Task

        write_json(target, {"task": Task.import_offline_session(request["session"])})
        return
    record = RunRecord.from_json(request["record"])
    tracker = ClearMLTracker(record.name, record.project, record.tags, offline=request["offline"])
    replay(record, tracker)
    write_json(target, {"task": tracker.id, "session": str(tracker.session) if tracker.session else None})


if __name__ == "__main__":
    main(sys.argv[1:])

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
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from hakka.errors import InvalidInput, Unavailable
from hakka.files import own_path, read_json, write_json

LOGGER = logging.getLogger(__name__)
Row = Mapping[str, Any]
Point = Sequence[float]  # x, y

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
CONTACT_SECONDS = 10.0
LEAST_PACE = 1_000_000  # bytes a second of a model on its way; a slower one is given up
MODEL = "model"  # name of the artifact
CURVES = "precision over recall"


@dataclass(frozen=True)
class RunRecord:
    """What a tracker is told of a run.

    ``params``: sections of parameters; ``history``: one mapping of numbers an epoch, ``epoch`` among them or counted
    from 1; ``metrics``: numbers, or mappings of them (a table if its entries are mappings again, as per class);
    ``curves``: points of recall and precision by class; ``confusion``: rows true, columns detected, with ``labels``;
    ``artifacts``: files by name; ``model``: the model's folder, with its ``version`` and ``classes``.
    """

    name: str
    project: str = "hakka"
    params: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Row] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    curves: Mapping[str, Sequence[Point]] = field(default_factory=dict)
    confusion: Sequence[Sequence[int]] = ()
    labels: Sequence[str] = ()
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    model: Path | None = None
    version: str = ""
    classes: Sequence[str] = ()
    tags: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values, files as absolute paths."""
        artifacts = {name: str(Path(path).absolute()) for name, path in self.artifacts.items()}
        return {**asdict(self), "artifacts": artifacts, "model": self.model and str(self.model.absolute())}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "RunRecord":
        """The record of ``to_json``."""
        artifacts = {name: Path(path) for name, path in value["artifacts"].items()}
        return cls(**{**value, "artifacts": artifacts, "model": value["model"] and Path(value["model"])})


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

    def curve(self, name: str, points: Sequence[Point]) -> None:
        """Take points of recall and precision, those of a class."""

    def confusion(self, labels: Sequence[str], rows: Sequence[Sequence[int]]) -> None:
        """Take a confusion matrix: rows true, columns detected."""

    def artifact(self, name: str, path: Path) -> None:
        """Take a file."""

    def model(self, version: str, folder: Path, classes: Sequence[str]) -> None:
        """Take the files of a model."""

    def close(self) -> None:
        """Finish the run."""


class MemoryTracker:
    """A tracker that keeps what it is told, in plain lists and mappings."""

    def __init__(self) -> None:
        self.parameters: dict[str, Any] = {}
        self.scalars: list[tuple[str, str, int, float]] = []
        self.results: dict[str, float] = {}
        self.tables: dict[str, list[list[Any]]] = {}
        self.curves: dict[str, list[Point]] = {}
        self.confusions: list[tuple[list[str], list[Sequence[int]]]] = []
        self.artifacts: dict[str, Path] = {}
        self.models: dict[str, tuple[Path, list[str]]] = {}
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

    def curve(self, name: str, points: Sequence[Point]) -> None:
        """Keep a curve."""
        self.curves[name] = list(points)

    def confusion(self, labels: Sequence[str], rows: Sequence[Sequence[int]]) -> None:
        """Keep a matrix."""
        self.confusions.append((list(labels), list(rows)))

    def artifact(self, name: str, path: Path) -> None:
        """Keep a file's path."""
        self.artifacts[name] = path

    def model(self, version: str, folder: Path, classes: Sequence[str]) -> None:
        """Keep a model's folder."""
        self.models[version] = (folder, list(classes))

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
        self.warning: str | None = None

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

    def curve(self, name: str, points: Sequence[Point]) -> None:
        """Report a line of a plot."""
        self._log.report_scatter2d(CURVES, name, points, iteration=0, xaxis="recall", yaxis="precision")

    def confusion(self, labels: Sequence[str], rows: Sequence[Sequence[int]]) -> None:
        """Report a matrix plot, its first class at the top left."""
        self._log.report_confusion_matrix(
            "confusion",
            "boxes",
            rows,
            iteration=0,
            xaxis="detected",
            yaxis="true",
            xlabels=list(labels),
            ylabels=list(labels),
            yaxis_reversed=True,
        )

    def artifact(self, name: str, path: Path) -> None:
        """Upload a file and wait for it."""
        self.task.upload_artifact(name, path, wait_on_upload=True)

    def model(self, version: str, folder: Path, classes: Sequence[str]) -> None:
        """Upload a zip of the folder and, online, register it as the task's output model.

        An output model of an offline session would name the session's files by paths that are gone when it is imported
        (clearml 1133); so the files travel as an artifact, and ``import_session`` registers it.
        """
        self.task.set_model_label_enumeration({name: number for number, name in enumerate(classes)})
        self.task.upload_artifact(MODEL, folder, metadata={"version": version}, wait_on_upload=True)
        if self.session is None:
            self.warning = _register_model(self.task)

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
    for name, points in record.curves.items():
        tracker.curve(name, points)
    if record.confusion:
        tracker.confusion(record.labels, record.confusion)
    if record.model and record.model.is_dir():
        tracker.model(record.version, record.model, record.classes)
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


def mirror_run(
    record: RunRecord, offline_dir: Path, *, timeout: float = 120.0, contact: float = CONTACT_SECONDS
) -> dict[str, Any]:
    """Mirror a finished run into ClearML: on its server if one is configured, else as ``offline_dir/<name>.zip``.

    Gives ``{"task": id | None, "session": path of the zip | None, "mode": "online"|"offline", "warning": str | None}``.
    A server that cannot be reached, does not answer the login within ``contact`` seconds or does not have everything
    after ``timeout``, and the time that a large model may need, leads to an offline session. Never raises: what went
    wrong is logged as one warning and returned.
    """
    online = _is_configured(os.environ)
    answer: dict[str, Any] = {"task": None, "session": None, "mode": "online" if online else "offline", "warning": None}
    try:
        timeout += _model_bytes(record) // LEAST_PACE
        offline_dir.mkdir(parents=True, exist_ok=True)
        if online:
            away = _find_away(os.environ)
            answer |= {"warning": away} if away else _try_mirror(record, offline_dir, timeout, contact)
        if not answer["task"]:
            reached = answer["warning"]
            answer |= {"mode": "offline", "warning": None} | _try_mirror(record, offline_dir, timeout)
            answer["warning"] = " and ".join(filter(None, (reached, answer["warning"]))) or None
    except Exception as error:  # a mirror must never fail the run that it mirrors
        answer["warning"] = f"ClearML: {type(error).__name__}: {error}"
    if answer["warning"]:
        later = "; `hakka track import` uploads it later" if answer["session"] else ""
        LOGGER.warning("run %s is complete, its mirror is not: %s%s", record.name, answer["warning"], later)
    return answer


def import_session(session: Path, *, timeout: float = 600.0, contact: float = CONTACT_SECONDS) -> str:
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
    with tempfile.TemporaryDirectory(prefix=".import-", dir=session.absolute().parent) as name:
        scratch = Path(name)
        write_json(scratch / "record.json", {"session": str(session.absolute()), "contact": contact})
        timeout += session.stat().st_size // LEAST_PACE
        failure = _run_apart(scratch, _environment(scratch, offline=False), timeout)
        answer = {} if failure else read_json(scratch / "answer.json")
    if not answer.get("task"):
        raise Unavailable(f"{session}: ClearML did not take the session: {failure or 'it gave no task'}")
    if answer["warning"]:
        LOGGER.warning("%s is uploaded, but not all of it: %s", session, answer["warning"])
    return str(answer["task"])


def _model_bytes(record: RunRecord) -> int:
    files = record.model.iterdir() if record.model and record.model.is_dir() else ()
    return sum(path.stat().st_size for path in files)


def _is_configured(environ: Mapping[str, str]) -> bool:
    if environ.get("CLEARML_OFFLINE_MODE", "").lower() in ("1", "true", "yes", "on"):
        return False
    return _config_file(environ).is_file() or any(
        environ.get(f"CLEARML_{name}") for name in ("API_HOST", "API_ACCESS_KEY", "AUTH_TOKEN")
    )


def _config_file(environ: Mapping[str, str]) -> Path:
    return own_path(environ.get("CLEARML_CONFIG_FILE") or "~/clearml.conf")


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
    if not parts.hostname or port is None:
        return ""
    if not getproxies().keys().isdisjoint({parts.scheme, "all"}) and not proxy_bypass(parts.hostname):
        return ""
    try:
        socket.create_connection((parts.hostname, port), REACH_SECONDS).close()
    except TimeoutError:
        return ""
    except OSError as error:
        return f"ClearML server: nobody answers at {parts.hostname}:{port}: {error.strerror or error}"
    return ""


def _try_mirror(record: RunRecord, offline_dir: Path, timeout: float, contact: float | None = None) -> dict[str, Any]:
    """Mirror to a server that must answer within ``contact`` seconds, or offline without any."""
    offline = contact is None
    folder = offline_dir.absolute()  # ClearML runs elsewhere
    scratch = Path(tempfile.mkdtemp(dir=folder, prefix=".session."))
    try:
        write_json(scratch / "record.json", {"record": record.to_json(), "contact": contact})
        failure = _run_apart(scratch, _environment(scratch, offline=offline), timeout)
        if failure:
            return {"warning": f"ClearML {'offline' if offline else 'server'}: {failure}"}
        answer = read_json(scratch / "answer.json")
        if answer["session"]:
            target = folder / f"{re.sub(r'[^A-Za-z0-9._-]', '_', record.name)}.zip"
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


def _log_in(seconds: float) -> None:
    """Log in to the server; the process ends where it gives no answer in time, as ClearML itself tries for minutes.

    The clock does not count the seconds in which ClearML is imported.
    """
    from clearml.backend_api import Session

    def give_up() -> None:
        print(f"the server did not answer within {seconds:g} s", file=sys.stderr, flush=True)
        os._exit(1)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        Session()
    finally:
        timer.cancel()


def _register_model(task: Any) -> str | None:
    """Make the artifact with the model's files the output model of a task on a server; gives what went wrong.

    It never raises, because the files are there already, and so is all else of the run.
    """
    from clearml import OutputModel

    try:
        artifact = task.artifacts[MODEL]
        name = f"{task.get_project_name()} {artifact.metadata['version']}"
        model = OutputModel(task=task, name=name, label_enumeration=task.get_labels_enumeration())
        model.update_weights(register_uri=artifact.url, update_comment=False, is_package=True)
    except Exception as error:
        return f"the model is an artifact, but no output model: {type(error).__name__}: {error}"
    return None


def _add_model(imported: str) -> str | None:
    """Register the model of a task that was imported, which is complete without it; gives what went wrong."""
    from clearml import Task

    try:
        task = Task.get_task(imported)
        if MODEL not in task.artifacts:
            return None
        task.mark_started(force=True)  # the import has completed it
        try:
            return _register_model(task)
        finally:
            task.mark_completed()
    except Exception as error:
        return f"the model was not registered: {type(error).__name__}: {error}"


def main(arguments: Sequence[str]) -> None:
    """Mirror the record, or import the session, of the first file and write the answer as the second."""
    source, target = (Path(argument) for argument in arguments)
    request = read_json(source)
    if request["contact"] is not None:
        _log_in(request["contact"])
    if "session" in request:
        from clearml import Task

        imported = Task.import_offline_session(request["session"])
        write_json(target, {"task": imported, "warning": _add_model(imported) if imported else None})
        return
    record = RunRecord.from_json(request["record"])
    tracker = ClearMLTracker(record.name, record.project, record.tags, offline=request["contact"] is None)
    replay(record, tracker)
    session = str(tracker.session) if tracker.session else None
    write_json(target, {"task": tracker.id, "session": session, "warning": tracker.warning})


if __name__ == "__main__":
    main(sys.argv[1:])

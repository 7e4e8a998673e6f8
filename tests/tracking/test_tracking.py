"""What ClearML gets of a run, and that nothing of ClearML can hurt one."""

import json
import os
import socket
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from hakka.cli import main
from hakka.errors import InvalidInput, Unavailable
from hakka.tracking import MemoryTracker, RunRecord, import_session, mirror_run, replay

GUARD = """
import os, socket
SEEN = os.environ["SEEN"]
def note(text):
    with open(SEEN, "a") as file:
        file.write(text + "\\n")
note("guard on")
class Socket(socket.socket):
    def connect(self, address):
        if self.family != socket.AF_UNIX:
            note(f"connect {address}")
        return super().connect(address)
socket.socket = Socket
look_up = socket.getaddrinfo
def getaddrinfo(*args, **kwargs):
    note(f"look up {args}")
    return look_up(*args, **kwargs)
socket.getaddrinfo = getaddrinfo
"""


def make_record(folder, name="run 7"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "notes.txt").write_bytes(b"notes" * 100)
    (folder / "model").mkdir(exist_ok=True)
    (folder / "model" / "model.bin").write_bytes(b"weights" * 100)
    (folder / "model" / "model.json").write_text('{"version": "0123456789ab"}')
    return RunRecord(
        name,
        params={"train": {"epochs": 2, "rate": 0.1}, "split": {"seed": 0}},
        history=[{"epoch": 1, "train/box_loss": 2.0, "note": "warm"}, {"epoch": 2, "train/box_loss": 1.5}],
        metrics={
            "map50": 0.5,
            "per_class": {"apple": {"ap50": 0.4}, "pear": {"ap50": 0.6, "n": 3}},
            "speed": {"ms": 9},
        },
        curves={"apple": [(0.0, 1.0), (1.0, 0.25)], "pear": [(0.0, 0.5), (1.0, 0.125)]},
        confusion=[[5, 1, 0], [0, 7, 2], [3, 0, 0]],
        labels=["apple", "pear", "nothing"],
        artifacts={"notes": folder / "notes.txt", "lost": folder / "lost.bin"},
        model=folder / "model",
        version="0123456789ab",
        classes=["apple", "pear"],
        tags=["nightly"],
    )


@pytest.fixture
def clean(monkeypatch, tmp_path):
    """An environment without any ClearML in it, and a home of its own."""
    for name in [name for name in os.environ if name.startswith(("CLEARML_", "TRAINS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return monkeypatch


def use_server(monkeypatch, server):
    for name in ("API", "WEB", "FILES"):
        monkeypatch.setenv(f"CLEARML_{name}_HOST", server.url)
    monkeypatch.setenv("CLEARML_API_ACCESS_KEY", "key")
    monkeypatch.setenv("CLEARML_API_SECRET_KEY", "secret")


def names_in(folder):
    return [path.name for path in folder.iterdir()]


def metrics_sent(events):
    return {(event["metric"], event["variant"], event["value"]) for event in events if "value" in event}


PLOTS = {
    ("precision over recall", "apple"): ([0.0, 1.0], [1.0, 0.25]),
    ("precision over recall", "pear"): ([0.0, 1.0], [0.5, 0.125]),
    ("confusion", "boxes"): [[5, 1, 0], [0, 7, 2], [3, 0, 0]],
}


def plots_sent(events):
    """The values of the curves and the matrix among events."""
    plots = {
        (event["metric"], event["variant"]): json.loads(event["plot_str"]) for event in events if "plot_str" in event
    }
    first = {name: plot["data"][0] for name, plot in plots.items()}
    curves = {name: (data["x"], data["y"]) for name, data in first.items() if data["type"] == "scatter"}
    return curves | {name: data["z"] for name, data in first.items() if data["type"] == "heatmap"}


def says_model(server, task):
    """The task has one output model: the uploaded files, with the classes that it knows."""
    (model,) = server.models.values()
    (uri,) = [item["uri"] for item in task["execution"]["artifacts"] if item["key"] == "model"]
    assert (model["name"], model["task"], model["labels"]) == (
        "hakka 0123456789ab",
        task["id"],
        {"apple": 0, "pear": 1},
    )
    assert model["uri"] == uri
    assert uri.startswith(server.url)


def test_replay_tells_a_tracker_everything(tmp_path):
    tracker = MemoryTracker()
    replay(make_record(tmp_path), tracker)
    assert tracker.parameters == {"train/epochs": 2, "train/rate": 0.1, "split/seed": 0}
    assert tracker.scalars == [("train", "box_loss", 1, 2.0), ("train", "box_loss", 2, 1.5)]
    assert tracker.results == {"map50": 0.5, "speed/ms": 9.0}
    assert tracker.tables == {"per_class": [["", "ap50", "n"], ["apple", 0.4, ""], ["pear", 0.6, 3]]}
    assert list(tracker.artifacts) == ["notes"]
    assert tracker.curves["pear"] == [(0.0, 0.5), (1.0, 0.125)]
    assert tracker.confusions == [(["apple", "pear", "nothing"], [[5, 1, 0], [0, 7, 2], [3, 0, 0]])]
    assert tracker.models == {"0123456789ab": (tmp_path / "model", ["apple", "pear"])}
    assert tracker.closed


def test_offline_session_is_whole_calls_nobody_and_imports_later(tmp_path, clean, clearml_server, caplog):
    guard, seen, offline = tmp_path / "guard", tmp_path / "seen.txt", tmp_path / "offline"
    guard.mkdir()
    (guard / "sitecustomize.py").write_text(GUARD)
    clean.setenv("PYTHONPATH", str(guard))
    clean.setenv("SEEN", str(seen))
    answer = mirror_run(make_record(tmp_path), offline)
    assert answer == {"task": answer["task"], "session": str(offline / "run_7.zip"), "mode": "offline", "warning": None}
    assert set(seen.read_text().splitlines()) == {"guard on"}
    assert names_in(offline) == ["run_7.zip"]
    assert names_in(tmp_path / "home") == []

    with zipfile.ZipFile(answer["session"]) as session:
        task = json.loads(session.read("task.json"))
        kept = {name.rpartition("/")[2]: session.read(name) for name in session.namelist()}
    assert kept["notes.txt"] == b"notes" * 100
    with zipfile.ZipFile(BytesIO(kept["model.zip"])) as model:
        assert {name: model.read(name) for name in model.namelist()} == {
            path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()
        }
    assert task["id"] == answer["task"]
    assert task["hyperparams"]["train"]["epochs"]["value"] == "2"
    events = [event for line in kept["metrics.jsonl"].splitlines() for event in json.loads(line)]
    assert plots_sent(events) == PLOTS

    use_server(clean, clearml_server)
    (tmp_path / "runs" / "one").mkdir(parents=True)
    record = tmp_path / "runs" / "one" / "run.json"
    record.write_text(json.dumps({"run": "one", "clearml": answer}))
    clean.setenv("HAKKA_HOME", str(tmp_path))
    assert main(["track", "import"]) == 0
    kept = json.loads(record.read_text())["clearml"]
    assert kept == {**answer, "task": next(iter(clearml_server.tasks)), "mode": "imported"}
    assert caplog.records == [], "all of it was uploaded"
    assert main(["track", "import"]) == 0, "nothing is uploaded twice"
    assert len(clearml_server.tasks) == 1
    assert f"connect {clearml_server.server_address}" in seen.read_text(), "the guard sees what ClearML connects to"
    (imported,) = clearml_server.tasks.values()
    assert (imported["name"], imported["tags"], imported["status"]) == ("run 7", ["nightly"], "completed")
    assert imported["execution"]["artifacts"][0]["uri"].startswith(clearml_server.url)
    assert any(b"notes" * 100 in file for file in clearml_server.files)
    says_model(clearml_server, imported)
    assert plots_sent(clearml_server.events) == PLOTS
    sent = metrics_sent(clearml_server.events)
    assert {("train", "box_loss", 2.0), ("train", "box_loss", 1.5), ("Summary", "map50", 0.5)} <= sent


def test_a_session_is_named_relative_to_the_current_folder(tmp_path, clean, clearml_server, capsys):
    clean.chdir(tmp_path)
    session = Path(mirror_run(make_record(tmp_path), Path("clearml"))["session"])
    assert session == tmp_path / "clearml" / "run_7.zip"
    use_server(clean, clearml_server)
    assert main(["track", "import", "clearml/run_7.zip"]) == 0
    assert capsys.readouterr().out == f"clearml/run_7.zip: task {next(iter(clearml_server.tasks))}\n"
    assert names_in(tmp_path / "clearml") == ["run_7.zip"]


def test_a_server_that_accepts_and_never_answers_holds_nobody_up(tmp_path, clean, caplog):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        clean.setenv("CLEARML_API_HOST", f"http://127.0.0.1:{silent.getsockname()[1]}")
        clean.setenv("CLEARML_API_ACCESS_KEY", "key")
        clean.setenv("CLEARML_API_SECRET_KEY", "secret")
        answer = mirror_run(make_record(tmp_path), tmp_path / "offline", timeout=600, contact=0.5)
        with pytest.raises(Unavailable, match=r"the server did not answer within 0\.5 s"):
            import_session(Path(answer["session"]), contact=0.5)
    said = "ClearML server: ended with 1: the server did not answer within 0.5 s"
    assert (answer["mode"], answer["warning"]) == ("offline", said)
    assert [record.getMessage() for record in caplog.records] == [
        f"run run 7 is complete, its mirror is not: {said}; `hakka track import` uploads it later"
    ]


def test_a_session_needs_a_server_and_stays_when_it_refuses(tmp_path, clean, clearml_server):
    session = tmp_path / "one.zip"
    with zipfile.ZipFile(session, "w") as file:
        file.writestr("task.json", "{}")
    with pytest.raises(InvalidInput, match="no ClearML server is configured"):
        import_session(session)
    use_server(clean, clearml_server)
    clearml_server.refuses = True
    with pytest.raises(Unavailable, match="did not take the session"):
        import_session(session)
    assert sorted(names_in(tmp_path)) == ["home", "one.zip"]
    with pytest.raises(InvalidInput, match="no such ClearML session"):
        import_session(tmp_path / "two.zip")


def test_configured_server_gets_the_run(tmp_path, clean, clearml_server):
    use_server(clean, clearml_server)
    answer = mirror_run(make_record(tmp_path), tmp_path / "offline", timeout=300)
    (task,) = clearml_server.tasks.values()
    assert answer == {"task": task["id"], "session": None, "mode": "online", "warning": None}
    assert task["status"] == "completed"
    assert task["hyperparams"]["split"]["seed"]["value"] == "0"
    assert [artifact["key"] for artifact in task["execution"]["artifacts"]] == ["notes", "model"]
    says_model(clearml_server, task)
    assert plots_sent(clearml_server.events) == PLOTS
    assert ("train", "box_loss", 1.5) in metrics_sent(clearml_server.events)


def test_server_that_refuses_leads_to_an_offline_session(tmp_path, clean, clearml_server, caplog):
    use_server(clean, clearml_server)
    clearml_server.refuses = True
    answer = mirror_run(make_record(tmp_path), tmp_path / "offline", timeout=300)
    assert answer["mode"] == "offline"
    assert Path(answer["session"]).is_file()
    assert answer["warning"].startswith("ClearML server: ended with 1")
    assert len(caplog.records) == 1


def test_a_server_where_nobody_listens_is_known_without_clearml(tmp_path, clean, caplog):
    def start(scratch, environ, _timeout):  # of the process in which ClearML runs
        started.append(environ.get("CLEARML_OFFLINE_MODE"))
        (scratch / "session").touch()
        (scratch / "answer.json").write_text(json.dumps({"task": "t1", "session": str(scratch / "session")}))

    started = []
    clean.setattr("hakka.tracking._run_apart", start)
    with socket.socket() as held:  # bound but not listening: nothing can answer there
        held.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{held.getsockname()[1]}"
        said = f"ClearML server: nobody answers at {place}: Connection refused"
        clean.setenv("CLEARML_API_HOST", f"http://{place}")
        by_variable = mirror_run(make_record(tmp_path), tmp_path / "offline")
        with pytest.raises(Unavailable, match=rf"run_7\.zip: {said}"):
            import_session(Path(by_variable["session"]))
        clean.delenv("CLEARML_API_HOST")
        (tmp_path / "home" / "clearml.conf").write_text(f"api {{\n  # none\n  api_server: http://{place}\n}}\n")
        by_file = mirror_run(make_record(tmp_path), tmp_path / "offline")
    session = str(tmp_path / "offline" / "run_7.zip")
    assert by_variable == by_file == {"task": "t1", "session": session, "mode": "offline", "warning": said}
    assert started == ["1", "1"], "only the offline session needs ClearML"
    assert len(caplog.records) == 2


@pytest.mark.parametrize("proxy", ["http_proxy", "all_proxy"])
def test_clearml_itself_judges_a_server_behind_a_proxy(tmp_path, clean, proxy):
    started = []
    clean.setattr("hakka.tracking._run_apart", lambda *_: started.append(1) or "no")
    clean.setenv("CLEARML_API_HOST", "http://clearml.invalid")
    clean.setenv(proxy, "http://127.0.0.1:9")
    clean.delenv("no_proxy", raising=False)
    clean.delenv("NO_PROXY", raising=False)
    warning = mirror_run(make_record(tmp_path), tmp_path / "offline")["warning"]
    assert (warning, len(started)) == ("ClearML server: no and ClearML offline: no", 2)


def test_a_large_model_has_the_time_that_it_needs(tmp_path, clean):
    given = []
    clean.setattr("hakka.tracking._run_apart", lambda scratch, environ, timeout: given.append(timeout) or "no")
    (tmp_path / "large").mkdir()
    with (tmp_path / "large" / "model.bin").open("wb") as file:
        file.truncate(900_000_000)  # no byte of it is on the disk
    mirror_run(replace(make_record(tmp_path), model=tmp_path / "large"), tmp_path / "offline", timeout=100)
    assert given == [1000]


def test_a_user_without_a_home_is_no_error(tmp_path, clean):
    clean.setattr("hakka.tracking._run_apart", lambda *_: "no")
    clean.delenv("HOME")
    clean.setattr("pwd.getpwuid", lambda uid: {}[uid])  # as in a container that runs as any user
    assert mirror_run(make_record(tmp_path), tmp_path / "offline")["warning"] == "ClearML offline: no"


@pytest.mark.usefixtures("clean")
def test_clearml_that_hangs_costs_one_warning(tmp_path, caplog):
    answer = mirror_run(make_record(tmp_path), tmp_path / "offline", timeout=0.05)
    assert answer == {
        "task": None,
        "session": None,
        "mode": "offline",
        "warning": "ClearML offline: no answer within 0.05 s",
    }
    assert [record.getMessage() for record in caplog.records] == [
        "run run 7 is complete, its mirror is not: ClearML offline: no answer within 0.05 s"
    ]
    assert names_in(tmp_path / "offline") == []


@pytest.mark.usefixtures("clean")
def test_folder_that_cannot_be_written_costs_one_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    answer = mirror_run(make_record(tmp_path), tmp_path / "file" / "offline")
    assert (answer["task"], answer["session"]) == (None, None)
    assert len(caplog.records) == 1

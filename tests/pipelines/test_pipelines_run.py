"""``python -m pipelines run`` as a user starts it: real data, real training, a process of its own.

It runs in a copy of the code, so that params.yaml may set a floor for the gate that a detector of one epoch reaches.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

import components
from hakka.cli import main
from hakka.data.sample import write_sample
from hakka.registry import champion, list_versions
from pipelines.local import step_folders
from tests.processes import processes_with, wait_until_gone

ROOT = Path(__file__).resolve().parents[2]
TINY = ("--weights", "starter", "--imgsz", "32", "--batch", "8", "--device", "cpu")


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A copy of the code in a folder whose name kfp.local would trip over: a space, and python3."""
    folder = tmp_path_factory.mktemp("house") / "my python3 code"
    folder.mkdir()
    for package in ("hakka", "components", "pipelines", "checks"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "cutouts"))
    params = (ROOT / "params.yaml").read_text()
    (folder / "params.yaml").write_text(set_floor(params, "0.0"))
    write_sample(folder / "photos", images=16, size=96)
    return folder


@pytest.fixture(scope="module")
def home(house):
    return house / "home"


@pytest.fixture(scope="module")
def first(house):
    return run(house, "--epochs", "1")


@pytest.fixture(scope="module")
def again(first, house):
    """The same run twice more, both at once."""
    return [finish(process) for process in [start(house, "--epochs", "1") for _ in range(2)]]


def set_floor(params, value):
    changed, count = re.subn(r"(?m)^  floor: \S+", f"  floor: {value}", params)
    assert count == 1
    return changed


def start(house, *options, data="photos", home="home", registry=""):
    command = [sys.executable, "-m", "pipelines", "run", "--data", data, "--json", *TINY, *options]
    environment = {**os.environ, "HAKKA_HOME": home, "HAKKA_ENDPOINT": "http://127.0.0.1:9"}
    environment.pop("HAKKA_WEIGHTS", None)
    environment |= {"HAKKA_REGISTRY": registry} if registry else {}
    return subprocess.Popen(
        command, cwd=house, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    out, err = process.communicate(timeout=400)
    return process.returncode, json.loads(out.splitlines()[-1]), err


def run(house, *options, **places):
    return finish(start(house, *options, **places))


def run_folder(answer):
    return Path(answer["paths"]["run"])


def steps(answer):
    record = json.loads((run_folder(answer) / "run.json").read_text())
    return {step["name"]: step["state"] for step in record["steps"]}


def test_a_run_promotes_a_detector_and_says_what_it_did(first, home):
    code, answer, err = first
    assert code == 0, err
    assert answer["decision"] == "promote"
    assert answer["version"] == champion(home / "registry")
    assert set(answer["metrics"]) >= {"map50", "map50_95"}
    assert answer["counts"]["images"] > 0
    assert answer["counts"]["refused"] == answer["counts"]["refused_images"] + answer["counts"]["refused_boxes"] > 0


def test_progress_names_every_step_with_its_seconds_and_lets_training_speak(first):
    err = first[2]
    before = ("prepare", "list", "scan", "convert", "validate", "accept", "plan", "train")
    for name in (*before, "export", "evaluate", "choose", "decide", "promote", "deploy", "track"):
        assert re.search(rf"^{name}: started\n(.*\n)*?{name}: done in \d+\.\d s$", err, re.MULTILINE), name
    assert re.search(r"^  epoch 1/1", err, re.MULTILINE)
    assert "KFP" not in err
    assert "executor_input" not in err


def test_the_record_and_the_page_of_a_run_lead_to_its_reports(first):
    folder = run_folder(first[1])
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "done"
    assert record["data_revision"]
    assert record["training"]["params"]["epochs"] == 1
    page = Path(first[1]["paths"]["report"]).read_text()
    links = [folder / unquote(link) for link in re.findall(r'href="([^"]+)"', page)]
    reports = [Path(record["paths"][name]) for name in ("conversion", "validation", "evaluation")]
    assert links == [folder / "model-card.html", folder / "dataset-card.html", *reports]
    assert all(path.is_file() for path in links)


def test_the_cards_of_a_run_say_what_its_reports_say(first, house, capsys, monkeypatch):
    folder = run_folder(first[1])
    record = json.loads((folder / "run.json").read_text())
    model, dataset = ((folder / f"{name}-card.md").read_text() for name in ("model", "dataset"))
    metrics = json.loads(Path(record["paths"]["evaluation"]).with_name("metrics.json").read_text())
    assert cell(model, "mAP50") == f"{metrics['map50']:.3f}"
    for name, row in metrics["per_class"].items():
        figures = [row["ap50"], row["ap"], row["precision"], row["recall"], row["f1"], row["best_confidence"]]
        shown = ["–" if value is None else f"{value:.3f}" for value in (*figures, row["best_f1"])]
        assert f"| {name} | {row['instances']} | {' | '.join(shown)} |" in model
    for name, row in metrics["slices"].items():
        assert f"| {name} | {row['images']} | {row['boxes']} | {row['map50']:.3f} |" in model
    for fact in (record["data_revision"], record["commit"], record["run"], record["clearml"]["task"], record["reason"]):
        assert fact in model
    conversion = json.loads(Path(record["paths"]["conversion"]).with_name("report.json").read_text())
    counts = conversion["boxes"]
    assert f"| boxes | {' | '.join(str(counts[k]) for k in ('found', 'converted', 'clipped', 'refused'))} |" in dataset
    for name, count in conversion["classes"].items():
        assert re.search(rf"^\| {name} \|.* {count} \|$", dataset, re.MULTILINE)

    monkeypatch.setenv("HAKKA_HOME", str(house / "home"))
    assert main(["models", "--card", "champion"]) == 0
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if line not in model] == [f"- **Registered**: {registered(house)}"]
    (folder / "run.json").rename(folder / "moved.json")  # as on another machine, which has the registry only
    try:
        assert main(["models", "--card", first[1]["version"]]) == 0
        assert capsys.readouterr().out == printed
    finally:
        (folder / "moved.json").rename(folder / "run.json")


def cell(card, name):
    return re.search(rf"^- \*\*{name}\*\*: (.*)$", card, re.MULTILINE)[1]


def registered(house):
    return list_versions(house / "home" / "registry")[0]["created"]


def test_a_users_own_checks_are_run_with_those_of_hakka(first):
    report = json.loads(Path(first[1]["paths"]["validation"]).with_name("report.json").read_text())
    [own] = [check for check in report["checks"] if check["origin"]]
    assert own["name"] == "one_plate"
    assert own["passed"]


def test_a_model_in_the_registry_names_the_run_and_the_data(first, home):
    [model] = list_versions(home / "registry")
    assert model["kfp_run"] == run_folder(first[1]).name
    assert model["data"]["source"].endswith("photos")


@pytest.mark.parametrize("number", [0, 1])
def test_another_run_reuses_what_it_may_and_says_so(first, again, home, number):
    code, answer, err = again[number]
    assert code == 0, err
    assert answer["version"] == first[1]["version"]
    assert len(list_versions(home / "registry")) == 1
    for name in ("list", "scan", "convert", "validate", "train", "export", "evaluate", "choose"):
        assert f"{name}: reused from an earlier run" in err
    assert {name for name, state in steps(answer).items() if state == "done"} == {
        "prepare",
        "accept",
        "plan",
        "evaluate champion",
        "decide",
        "promote",
        "deploy",
        "track",
    }


def test_two_runs_at_once_do_not_disturb_each_other(again):
    assert [code for code, _, _ in again] == [0, 0]
    assert len({run_folder(answer) for _, answer, _ in again}) == 2


def test_a_killed_run_ends_everything_it_started_and_goes_on_when_it_is_started_again(first, house, home):
    killed = start(house, "--epochs", "400")
    wait_for(killed, "  epoch 1/400")
    killed.kill()
    killed.communicate(timeout=60)  # to the end of its output, which the training holds open as long as it lives
    process = start(house, "--epochs", "400")
    wait_for(process, "  going on after epoch ")
    [folder] = [path for path in (home / "runs").iterdir() if not (path / "run.json").exists()]
    assert processes_with("HAKKA_RUN_ID", folder.name)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out.splitlines()[-1])["status"] == "interrupted"
    assert re.search(r"^train: interrupted after \d+\.\d s$", err, re.MULTILINE)
    for word in ("failed", "Traceback", "Process "):
        assert word not in err
    wait_until_gone("HAKKA_RUN_ID", folder.name)
    assert "train-detector" not in {step.name for step in step_folders(folder)}
    assert champion(home / "registry") == first[1]["version"]


def wait_for(process, words):
    """Until a line of its progress begins with these words."""
    assert any(line.startswith(words) for line in process.stderr)


def test_bad_annotations_are_one_sentence(house, tmp_path):
    photos = tmp_path / "bad"
    shutil.copytree(house / "photos", photos)
    (photos / "annotations.json").write_text('{"images": [')
    code, answer, err = run(house, data=str(photos), home=str(tmp_path / "home"))
    assert code == 2
    lines = err.strip().splitlines()
    assert lines[-1] == f"error: {answer['reason']}"
    assert "annotations.json" in lines[-1]
    assert len([line for line in lines if "error" in line.lower()]) == 1
    assert "Traceback" not in err


def test_a_dataset_that_fails_its_checks_is_refused_with_the_reason(house, tmp_path):
    write_sample(tmp_path / "faulty", images=8, size=96)  # a third of its images cannot be read or come twice
    code, answer, err = run(house, data=str(tmp_path / "faulty"), home=str(tmp_path / "home"))
    assert code == 1, err
    assert answer["status"] == "refused"
    report = re.search(r"the findings are in (.*report\.html)$", answer["reason"])[1]
    assert "source_refused" in answer["reason"]
    assert Path(report).is_file()
    assert "train: started" not in err


@pytest.mark.parametrize(
    ("options", "data", "words"),
    [
        ((), "nowhere", "data: must be a folder of photos and annotations"),
        (("--imgsz", "33"), "photos", "imgsz must be a multiple of 32, got 33"),
        (("--shards", "0"), "photos", "shards must be 1 to 10000, got 0"),
        (("--epochs", "-1"), "photos", "epochs must be 0 to 100000, got -1"),
        (
            ("--variants", '[{"imgsz": 33}]'),
            "photos",
            "variants, entry 1: train.imgsz must be a multiple of 32, got 33",
        ),
        (("--weights", "nosuch.pt"), "photos", "weights: 'nosuch.pt' is neither a file nor the name of a detector"),
        (("--variants", '[{}, {"weights": "w/none.pt"}]'), "photos", "weights: 'w/none.pt' is neither a file nor"),
        (
            ("--variants", '[{"imgsz": 64, "imgsz": 96}]'),
            "photos",
            "a key must come once in a mapping, got 'imgsz'",
        ),
        (("--variants", '[{"seed": 1}, {"seed": 1}]'), "photos", "variants: entries 1 and 2 must differ"),
        (("--variants", "nowhere.yaml"), "photos", "got 'nowhere.yaml': No such file or directory"),
        (("--latency-budget=-1",), "photos", "variants.latency_budget_ms must be 0 or more, got -1.0"),
    ],
)
def test_a_bad_option_is_one_sentence_before_any_work(house, tmp_path, options, data, words):
    code, answer, err = run(house, *options, data=data, home=str(tmp_path / "home"))
    assert code == 2
    assert err.strip() == f"error: {answer['reason']}"
    assert words in err
    assert not (tmp_path / "home").exists()


def test_a_detector_below_the_floor_leaves_the_champion_and_every_body_has_run(first, house, home, tmp_path):
    params = house / "params.yaml"
    before = params.read_text()
    params.write_text(set_floor(before, "0.99"))
    try:
        code, answer, err = run(house, "--epochs", "1", "--trials", "1", registry=str(tmp_path / "registry"))
    finally:
        params.write_text(before)
    assert code == 1, err
    assert answer["decision"] == "keep"
    assert "does not reach the floor of 0.990" in answer["reason"]
    assert answer["version"] is None
    assert "train: reused from an earlier run" in err
    assert "train trial 1: started" in err
    ran = {path.name for folder in (run_folder(first[1]), run_folder(answer)) for path in step_folders(folder)}
    assert ran >= {name.replace("_", "-") for name in components.__all__}

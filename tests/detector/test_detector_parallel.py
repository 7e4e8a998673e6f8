"""Training on several GPUs, with two processes on the CPU in their place: everything is real but the devices."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hakka.data.convert import convert
from hakka.data.sample import write_sample
from hakka.detector.checkpoint import load_checkpoint
from hakka.detector.train import TrainParams, train
from hakka.errors import InvalidInput, Unavailable
from hakka.files import read_json
from hakka.params import read_section
from tests.processes import wait_until_gone

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = {"epochs": 4, "imgsz": 96, "batch": 8, "learning_rate": 0.003, "seed": 1, "device": "0,1"}
SCRIPT = f"""
import sys
from pathlib import Path
import torch
from hakka.detector.train import TrainParams, train
from hakka.params import read_section
torch.cuda.device_count = lambda: 2
train(*map(Path, sys.argv[1:]), read_section(TrainParams, "train", **{OPTIONS}))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parallel")
    write_sample(folder / "data", images=24, seed=5, size=160)
    convert(folder / "data", folder / "dataset")
    return folder


def start(data, out, home, **streams):
    path = os.pathsep.join([str(Path(__file__).parent / "two_gpus"), str(ROOT)])
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, data / "dataset", data / "data", out],
        env={**os.environ, "PYTHONPATH": path, "HAKKA_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        **streams,
    )


def test_two_processes_train_one_model_and_go_on_after_a_kill(data, tmp_path):
    home = tmp_path / "home"
    with start(data, tmp_path / "whole", home) as whole:
        said = whole.stdout.read()
    assert whole.returncode == 0
    assert [line.partition(":")[0] for line in said.splitlines() if ": loss" in line] == [
        f"epoch {i}/4" for i in range(1, 5)
    ], "one process speaks"
    with start(data, tmp_path / "broken", home) as broken:
        next(line for line in broken.stdout if line.startswith("epoch 2/4: loss"))
        broken.kill()
    assert broken.returncode == -signal.SIGKILL
    wait_until_gone("HAKKA_HOME", str(home))
    with start(data, tmp_path / "broken", home) as again:
        said = again.stdout.read()
    assert again.returncode == 0
    assert "going on after epoch " in said
    for file in ("history.json", "weights.safetensors"):
        assert (tmp_path / "broken" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file
    history = read_json(tmp_path / "whole" / "history.json")
    assert len(history) == 4
    assert len({epoch["loss"] for epoch in history}) == 4
    assert load_checkpoint(tmp_path / "whole" / "weights.safetensors").names
    assert list((home / "training").iterdir()) == []


def test_when_what_holds_the_processes_together_is_killed_they_end_and_it_is_said(data, tmp_path):
    home = tmp_path / "home"
    with start(data, tmp_path / "out", home, stderr=subprocess.PIPE) as training:
        next(line for line in training.stdout if line.startswith("epoch 1/4: loss"))
        [launcher] = Path(f"/proc/{training.pid}/task/{training.pid}/children").read_text().split()
        os.kill(int(launcher), signal.SIGKILL)
        _, said = training.communicate(timeout=60)
    assert "training on the GPUs 0,1: it was ended by signal 9; run it again" in said
    wait_until_gone("HAKKA_HOME", str(home))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"device": "0,0"}, "train.device must name each GPU once, got '0,0'"),
        ({"device": "0,1", "batch": 5}, "train.batch must be a multiple of the 2 GPUs of train.device, got 5"),
    ],
)
def test_what_cannot_be_shared_out_is_refused(options, words):
    with pytest.raises(InvalidInput, match=words):
        read_section(TrainParams, "train", **options)


def test_gpus_that_are_not_there_are_refused_in_one_sentence(data, tmp_path):
    params = read_section(TrainParams, "train", device="0,1")
    with pytest.raises(Unavailable, match=r"numbers of GPUs that torch sees here \(\d+\), got '0,1'"):
        train(data / "dataset", data / "data", tmp_path / "training", params)

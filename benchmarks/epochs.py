"""Hakka's training beside ultralytics' own: parts ``epochs`` and ``real`` of ``benchmarks/training.py``.

Each training runs in a process of its own (``run_alone``), from the same weights in every bit: what Hakka would start
from is written as an ultralytics checkpoint for the peer. What both leave is exported and evaluated by Hakka.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hakka.data.convert import convert
from hakka.data.dataset import load_dataset, materialize
from hakka.detector import train as hakka_train
from hakka.detector.checkpoint import save_checkpoint
from hakka.detector.evaluate import evaluate
from hakka.detector.export import export
from hakka.detector.torch_compat import load_ultralytics
from hakka.detector.train import TrainParams
from hakka.detector.weights import build_module, find_start
from hakka.params import read_section
from hakka.settings import read_settings

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "sample"
SPEED = 0.98  # asked: epochs a second, of the peer's
PROBED = 3  # epochs from which Hakka's seconds an epoch are judged
DEFAULT_SIZE = 640  # of ultralytics' images


@dataclass(frozen=True)
class Order:
    """One training: ``who`` is hakka, ultralytics (with Hakka's settings) or default (``yolo train`` as it is).

    ``params`` are those of section train; ``minutes`` ends the default one, on the wall.
    """

    who: str
    dataset: str
    root: str
    out: str
    params: dict[str, Any]
    minutes: float = 0.0


def run_alone(_work: Path, options: argparse.Namespace) -> int:
    """Train as ``options.order`` (JSON) says; the last line is the seconds of each epoch, of the wall and of all cores.

    An epoch lasts from its start to the next one's, validation and snapshots included; the last one is left out.
    """
    order = Order(**json.loads(options.order))
    params = TrainParams(**order.params)
    marks: list[tuple[float, float]] = []

    def mark(_trainer: Any) -> None:
        marks.append((time.perf_counter(), sum(os.times()[:4])))

    start = time.perf_counter()
    if order.who == "hakka":
        _train_as_hakka(order, params, mark)
    else:
        _train_as_ultralytics(order, params, mark)
    epochs = [(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(marks)]
    whole = (time.perf_counter() - start, sum(os.times()[:4]))
    print(json.dumps({"epochs": epochs, "count": len(marks), "whole": whole}))
    return 0


def _train_as_hakka(order: Order, params: TrainParams, mark: Any) -> None:
    make_trainer = hakka_train.make_trainer

    def make_marked(*arguments: Any) -> Any:
        trainer = make_trainer(*arguments)
        trainer.add_callback("on_train_epoch_start", mark)
        return trainer

    hakka_train.make_trainer = make_marked
    hakka_train.train(Path(order.dataset), Path(order.root), Path(order.out), params)


def _train_as_ultralytics(order: Order, params: TrainParams, mark: Any) -> None:
    """``YOLO(file).train(...)``; its best weights become a checkpoint that Hakka exports."""
    settings, data, out = read_settings(), load_dataset(Path(order.dataset)), Path(order.out)
    load_ultralytics(settings.home / "ultralytics")
    import torch
    from ultralytics import YOLO
    from ultralytics.nn.tasks import load_checkpoint

    start = find_start(params.weights, params.model, data.names, settings)
    module, _ = build_module(start, data.names, params.seed)
    out.mkdir(parents=True)
    torch.save({"epoch": -1, "model": module, "ema": None, "train_args": {}}, out / "start.pt")
    data_yaml = materialize(data, Path(order.root), out / "data", splits=("train", "val"))
    own = {"data": str(data_yaml), "project": str(out), "name": "run", "seed": params.seed}
    model = YOLO(str(out / "start.pt"))
    model.add_callback("on_train_epoch_start", mark)
    if order.who == "default":
        model.train(**own, time=order.minutes / 60)
        size = DEFAULT_SIZE
    else:
        overrides = hakka_train._overrides(data_yaml, out, params, params.epochs)
        given = {key: value for key, value in overrides.items() if key not in ("model", "pretrained")} | own
        model.add_callback("on_train_start", lambda _: torch.set_num_threads(len(os.sched_getaffinity(0))))
        model.train(**given)
        size = params.imgsz
    best, _ = load_checkpoint(str(out / "run" / "weights" / "best.pt"))
    best.names = dict(enumerate(data.names))
    save_checkpoint(out / "weights.safetensors", best, size)


def train_alone(order: Order) -> dict[str, Any]:
    """What ``run_alone`` prints, from a process of its own."""
    command = [sys.executable, str(Path(__file__).with_name("training.py")), "alone", json.dumps(asdict(order))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{order.who}: {done.stderr[-3000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def measure(order: Order) -> dict[str, Any]:
    """The metrics of the exported model of a training, by Hakka's own evaluation on the test images."""
    out, dataset, root = (Path(path) for path in (order.out, order.dataset, order.root))
    export(out, dataset, root, out / "model")
    return evaluate(out / "model", dataset, root, out / "evaluation")


def compare_epochs(work: Path, options: argparse.Namespace) -> int:
    """Short trainings on the sample, turn by turn, one seed a turn: seconds an epoch and mAP."""
    convert(SAMPLE, work / "dataset")
    rows: dict[str, list[tuple[float, float, float, float]]] = {"hakka": [], "ultralytics": []}
    print(f"{'':<14}{'seed':>5}{'s an epoch':>12}{'core s':>8}{'mAP50':>8}{'mAP50-95':>10}")
    for seed in range(options.seeds):
        params = asdict(read_section(TrainParams, "train", epochs=options.epochs, seed=seed))
        for who in sorted(rows, reverse=bool(seed % 2)):
            order = Order(who, str(work / "dataset"), str(SAMPLE), str(work / f"{who}-{seed}"), params)
            epochs = train_alone(order)["epochs"]
            wall, cores = (statistics.median(epoch[i] for epoch in epochs) for i in (0, 1))
            found = measure(order)
            rows[who].append((wall, cores, found["map50"], found["map50_95"]))
            print(
                f"{who:<14}{seed:>5}{wall:>12.2f}{cores:>8.2f}{found['map50']:>8.3f}{found['map50_95']:>10.3f}",
                flush=True,
            )
    print(f"load of the machine over the last minutes {[round(n, 1) for n in os.getloadavg()]}")
    pairs = list(zip(rows["hakka"], rows["ultralytics"], strict=True))
    speed = [statistics.median(peer[i] / own[i] for own, peer in pairs) for i in (0, 1)]
    print(f"hakka's speed: {speed[0]:.3f} of ultralytics' on the wall, {speed[1]:.3f} by core seconds (asked: {SPEED})")
    for place, name in ((2, "mAP50"), (3, "mAP50-95")):
        own, peer = (statistics.mean(row[place] for row in rows[who]) for who in ("hakka", "ultralytics"))
        print(f"{name:<9} mean of {options.seeds} seeds: hakka {own:.3f}, ultralytics {peer:.3f}")
    return 0


def run_real(work: Path, options: argparse.Namespace) -> int:
    """Hakka's training and ``yolo train`` as it is, for the same minutes each, measured on the same test images."""
    dataset = work / "dataset"
    convert(options.data, dataset)
    given = {} if options.imgsz is None else {"imgsz": options.imgsz}
    params = read_section(TrainParams, "train", weights=options.weights, **given)
    where = (str(dataset), str(options.data.absolute()))
    probe = train_alone(Order("hakka", *where, str(work / "probe"), asdict(replace(params, epochs=PROBED))))
    pace = statistics.median(wall for wall, _ in probe["epochs"])
    start = probe["whole"][0] - PROBED * pace
    epochs = max(int((options.minutes * 60 - start) / pace), 1)
    print(f"hakka: {pace:.1f} s an epoch, so {epochs} epochs in {options.minutes:g} minutes", flush=True)
    orders = (
        Order("hakka", *where, str(work / "hakka"), asdict(replace(params, epochs=epochs))),
        Order("default", *where, str(work / "default"), asdict(params), options.minutes),
    )
    print(f"\n{'':<12}{'epochs':>7}{'minutes':>9}{'core min':>10}{'mAP50':>8}{'mAP50-95':>10}{'ms a photo':>12}")
    for order in orders:
        result = train_alone(order)
        found = measure(order)
        wall, cores = (seconds / 60 for seconds in result["whole"])
        figures = f"{wall:>9.1f}{cores:>10.1f}{found['map50']:>8.3f}{found['map50_95']:>10.3f}"
        print(f"{order.who:<12}{result['count']:>7}{figures}{found['speed']['ms']:>12.1f}", flush=True)
    return 0

"""The figures of training, evaluation and the gate in docs/benchmarks.md: ``python benchmarks/training.py PART``.

``gate``: how often the gate errs, by simulation on real results (``gate_rates.py``).
``pipeline``: ``hakka run`` beside the same functions called one after the other in one process.
``epochs``: Hakka's training beside ultralytics' own with the same settings, weights, data and threads (``epochs.py``).
``evaluation``: evaluation of 1,000 images beside decoding and inference alone.
``real``: on your photos, Hakka's training beside ``yolo train`` as it is, same weights and minutes (``epochs.py``).

What is compared runs turn by turn. Beside seconds on the wall stand those of all cores, which other work on the machine
disturbs less. Outputs are compared before times.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

from epochs import compare_epochs, run_alone, run_real
from gate_rates import simulate

from hakka.cores import usable_cores
from hakka.data.convert import convert
from hakka.data.dataset import load_dataset
from hakka.data.sample import write_sample
from hakka.data.split import SplitParams
from hakka.detector.evaluate import LEAST_CONFIDENCE, detect_entries, evaluate
from hakka.detector.export import export
from hakka.detector.inference import Plan
from hakka.detector.runtime import Detector, load_detector
from hakka.detector.train import TrainParams, train
from hakka.params import read_section
from hakka.settings import read_settings

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "sample"
OVERHEAD = 1.05  # asked: a run, of the time of the same functions
EVALUATION = 1.1  # asked: an evaluation, of the time of inference alone

Times = tuple[float, float]  # seconds on the wall and seconds of all cores


def main() -> int:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="folder for what is made on the way, kept (default: a temporary one)")
    parts = parser.add_subparsers(dest="part", required=True)
    gate = parts.add_parser("gate")
    gate.add_argument("--pairs", type=int, default=1000, help="simulated pairs a figure")
    gate.add_argument("--draws", type=int, default=400, help="of the gate's bootstrap")
    gate.add_argument("--evaluations", type=Path, nargs="+", help="of equal models on the same images (default: made)")
    parts.add_parser("pipeline").add_argument("--repeats", type=int, default=3)
    epochs = parts.add_parser("epochs")
    epochs.add_argument("--seeds", type=int, default=3)
    epochs.add_argument("--epochs", type=int, default=6)
    evaluation = parts.add_parser("evaluation")
    evaluation.add_argument("--images", type=int, default=1000)
    evaluation.add_argument("--repeats", type=int, default=5)
    evaluation.add_argument("--model", type=Path, help="model folder (default: one is trained for an epoch)")
    real = parts.add_parser("real")
    real.add_argument("--data", type=Path, required=True, help="folder of photos and annotations")
    real.add_argument("--weights", default="auto", help="where both start: as hakka train --weights")
    real.add_argument("--minutes", type=float, default=20, help="on the wall, for each of the two")
    real.add_argument("--imgsz", type=int, help="of Hakka's training (default: params.yaml); yolo train takes 640")
    direct = parts.add_parser("direct", help="the functions of the pipeline (part pipeline starts this)")
    direct.add_argument("out", type=Path)
    alone = parts.add_parser("alone", help="one training (part epochs starts this)")
    alone.add_argument("order")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = (options.work or Path(scratch)).absolute()
        work.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("HAKKA_HOME", str(work / "home"))
        return PARTS[options.part](work, options)


def timed(call: Callable[[], object]) -> Times:
    """Times that a call takes, its threads and processes included."""
    wall, work = time.perf_counter(), sum(os.times()[:4])
    call()
    return time.perf_counter() - wall, sum(os.times()[:4]) - work


def compare_times(first: list[Times], second: list[Times]) -> tuple[float, float]:
    """Median over the turns of how many times the second takes: on the wall, and of all cores."""
    wall, work = ([b[i] / a[i] for a, b in zip(first, second, strict=True)] for i in (0, 1))
    return statistics.median(wall), statistics.median(work)


def say_load() -> None:
    """Print what else keeps the machine busy."""
    print(f"{usable_cores()} cores; load of the machine over the last minutes {[round(n, 1) for n in os.getloadavg()]}")


def run_gate(work: Path, options: argparse.Namespace) -> int:
    """Error rates of the gate, on given evaluations or on those of two seeds, trained here for two epochs."""
    return simulate(options.evaluations or [make_evaluation(work, seed) for seed in (1, 2)], options)


def make_evaluation(work: Path, seed: int) -> Path:
    """The evaluation, on 300 generated scenes, of a model that was trained on the sample with this seed."""
    out = work / f"evaluation-{seed}"
    if not out.is_dir():
        model = make_model(work, seed, epochs=2)
        evaluate(model, *draw_scenes(work, 300), out)
    return out


def make_model(work: Path, seed: int, epochs: int) -> Path:
    """The exported model of a training on the sample."""
    model = work / f"model-{seed}-{epochs}"
    if not model.is_dir():
        convert(SAMPLE, work / "dataset")
        params = read_section(TrainParams, "train", epochs=epochs, seed=seed)
        train(work / "dataset", SAMPLE, work / f"training-{seed}", params)
        export(work / f"training-{seed}", work / "dataset", SAMPLE, model)
    return model


def draw_scenes(work: Path, count: int) -> tuple[Path, Path]:
    """A dataset with about ``count`` test images, and the folder of its images."""
    scenes = work / f"scenes-{count}"
    if not (scenes / "dataset").is_dir():
        write_sample(scenes / "data", images=round(count / 0.98), seed=77, faulty=False)
        convert(scenes / "data", scenes / "dataset", params=SplitParams(val=0, test=0.98))
    return scenes / "dataset", scenes / "data"


def run_pipeline(work: Path, options: argparse.Namespace) -> int:
    """A run of the pipeline beside the direct calls, each in a fresh home, so that nothing is reused."""
    names = {"the functions, directly": run_direct, "hakka run": run_hakka}
    times: dict[str, list[Times]] = {name: [] for name in names}
    results: dict[str, dict[str, Any]] = {}
    for turn in range(options.repeats):
        for name, start in names.items():
            with tempfile.TemporaryDirectory(dir=work) as home:
                times[name].append(timed(lambda start=start, home=home, name=name: results.update({name: start(home)})))
                print(
                    f"turn {turn + 1}: {name:<25}{times[name][-1][0]:7.1f} s{times[name][-1][1]:8.1f} core s",
                    flush=True,
                )
    versions = {result["version"] for result in results.values()}
    print(f"\nmodel versions: {'the same' if len(versions) == 1 else f'NOT THE SAME: {versions}'}")
    say_load()
    wall, cores = compare_times(*times.values())
    print(f"hakka run takes {wall:.3f} x on the wall, {cores:.3f} x of the cores (asked: {OVERHEAD})")
    direct, steps = results["the functions, directly"]["seconds"], results["hakka run"]["steps"]
    print(f"\n{'step':<20}{'hakka run s':>12}{'directly s':>12}")
    for step in steps:
        print(f"{step['name']:<20}{step['seconds']:>12.2f}{direct.get(step['name'], 0):>12.2f}")
    between = results["hakka run"]["whole"] - sum(step["seconds"] for step in steps)
    print(f"{'start, between, end':<20}{between:>12.2f}{direct['imports']:>12.2f}")
    return int(len(versions) != 1)


def run_hakka(home: str) -> dict[str, Any]:
    """The answer of ``hakka run`` on the sample, with its steps and whole seconds."""
    command = [sys.executable, "-m", "hakka", "run", "--data", str(SAMPLE), "--json"]
    began = time.perf_counter()
    answer = ask(command, home)
    record = json.loads((Path(answer["paths"]["run"]) / "run.json").read_text())
    return answer | {"whole": time.perf_counter() - began, "steps": record["steps"]}


def run_direct(home: str) -> dict[str, Any]:
    """What ``call_directly`` answers in a process of its own."""
    return ask([sys.executable, str(Path(__file__)), "direct", str(Path(home, "out"))], home)


def ask(command: list[str], home: str) -> dict[str, Any]:
    """The JSON in the last line that a command prints."""
    environment = {**os.environ, "HAKKA_HOME": home, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def call_directly(_work: Path, options: argparse.Namespace) -> int:
    """Do what the pipeline does, in its order, in this process; the last line is the version and the steps' seconds."""
    began = time.perf_counter()
    from hakka import registry, run
    from hakka.data import shards
    from hakka.deploy import deploy
    from hakka.detector.evaluate import evaluate_champion
    from hakka.detector.gate import GateParams, decide

    seconds: dict[str, float] = {"imports": time.perf_counter() - began}

    def step(name: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        start = time.perf_counter()
        result = function(*arguments, **named)
        seconds[name] = time.perf_counter() - start
        return result

    options.out.mkdir(parents=True)
    at = {
        name: options.out / name
        for name in ("dataset", "validation", "training", "model", "evaluation", "champion", "decision", "record")
    }
    settings, data = read_settings(), str(SAMPLE)
    folder, revision, earlier = step("prepare", run.prepare_data, data, "")
    root, images, scans = Path(folder), options.out / "images", options.out / "scans"
    [shard] = step("list", shards.list_images, root, "auto", 1, images)
    step("scan", shards.scan_shard, root, images, scans, shard)
    step("convert", run.convert_data, root, at["dataset"], "auto", [scans], earlier)
    step("validate", run.check_dataset, at["dataset"], root, at["validation"], [scans], data)
    step("accept", run.accept_data, at["validation"], at["dataset"], data, revision)
    step("train", train, at["dataset"], root, at["training"], read_section(TrainParams, "train"))
    step("export", export, at["training"], at["dataset"], root, at["model"])
    step("evaluate", evaluate, at["model"], at["dataset"], root, at["evaluation"])
    step("evaluate champion", evaluate_champion, settings.registry, at["dataset"], root, at["champion"])
    step("decide", decide, at["evaluation"], at["champion"], at["decision"], read_section(GateParams, "gate"))
    origin = run.lineage(data, revision, "direct")
    publish = {"channel": "champion", "lineage": origin}
    version = step("promote", registry.publish, at["model"], at["evaluation"], settings.registry, **publish)
    step("deploy", deploy, version)
    sources = run.Sources(**{field.name: at[field.name] for field in fields(run.Sources)})
    step("track", run.track, at["record"], sources, version, origin)
    print(json.dumps({"version": version, "seconds": seconds}))
    return 0


def run_evaluation(work: Path, options: argparse.Namespace) -> int:
    """An evaluation beside two ways to decode and infer alone: one photo after another, and side by side.

    All of them load the model first, and OpenCV has one thread in all of them.
    """
    import cv2

    cv2.setNumThreads(1)
    model = options.model or make_model(work, seed=0, epochs=1)
    dataset, root = draw_scenes(work, options.images)
    entries = load_dataset(dataset).split("test")
    plan = Plan(threads=usable_cores(), streams=usable_cores())
    compare_boxes(load_detector(model, plan), entries[:50], root)
    ways: dict[str, Callable[[], object]] = {
        "evaluation": lambda: evaluate(model, dataset, root, work / "evaluation"),
        "one photo after another": lambda: sum(
            len(one.found) for one in detect_entries(*infer(load_detector(model, plan), entries, root))
        ),
        "side by side": lambda: infer_side_by_side(load_detector(model, plan), entries, root),
    }
    times: dict[str, list[Times]] = {name: [] for name in ways}
    for _ in range(options.repeats):
        for name, way in ways.items():
            times[name].append(timed(way))
    say_load()
    print(f"{len(entries)} test images, medians of {options.repeats}")
    for name, taken in times.items():
        wall, cores = (statistics.median(one[i] for one in taken) for i in (0, 1))
        ratios = compare_times(taken, times["evaluation"])
        beside = "" if name == "evaluation" else f"evaluation takes {ratios[0]:.3f} x, of the cores {ratios[1]:.3f} x"
        print(f"{name:<26}{wall:7.2f} s{cores:8.2f} core s  {beside}")
    print(f"asked: {EVALUATION}")
    return 0


def infer(detector: Detector, entries: Any, root: Path) -> tuple[Detector, Any, Path, float]:
    """The arguments of ``detect_entries`` that an evaluation gives it."""
    return detector, entries, root, LEAST_CONFIDENCE


def infer_side_by_side(detector: Detector, entries: Any, root: Path) -> int:
    """Boxes on all images, found with as many inferences at once as there are cores, and one thread more."""
    from hakka.detector.decode import decode_photo

    def look(entry: Any) -> int:
        photo = decode_photo((root / entry.image).read_bytes(), model_size=detector.info.imgsz)
        return len(detector.detect(photo.pixels, confidence=LEAST_CONFIDENCE, alone=False))

    with ThreadPoolExecutor(usable_cores() + 1) as pool:
        return sum(pool.map(look, entries))


def compare_boxes(detector: Detector, entries: Any, root: Path) -> None:
    """Both ways must find as many boxes."""
    one = sum(len(seen.found) for seen in detect_entries(*infer(detector, entries, root)))
    other = infer_side_by_side(detector, entries, root)
    print(f"boxes on {len(entries)} images: {'the same' if one == other else f'NOT THE SAME: {one}, {other}'}")


PARTS: dict[str, Callable[[Path, argparse.Namespace], int]] = {
    "gate": run_gate,
    "pipeline": run_pipeline,
    "epochs": compare_epochs,
    "evaluation": run_evaluation,
    "real": run_real,
    "direct": call_directly,
    "alone": run_alone,
}


if __name__ == "__main__":
    sys.exit(main())

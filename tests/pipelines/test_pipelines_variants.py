"""Variants as kfp runs them here: three of two real trainings, the best is taken, and the gate hears of the others."""

import logging
import warnings
from collections import Counter
from pathlib import Path

import pytest
from kfp import dsl
from kfp.local import logging_utils

from components import convert_annotations
from hakka.data.sample import write_sample
from hakka.detector.gate import GateParams, decide
from hakka.detector.variants import choose
from hakka.files import read_json, write_json
from hakka.params import read_section
from pipelines import worker
from pipelines.progress import Progress
from pipelines.training import Chosen, scan_in_shards, train_variants

ROOT = Path(__file__).resolve().parents[2]
VARIANTS = [{"imgsz": 256}, {"imgsz": 64}, {"imgsz": 64, "precision": "int8"}]
TITLES = ["imgsz=256", "imgsz=64", "imgsz=64, precision=int8"]


@dsl.pipeline(name="training-part")
def training_part(data: str, variants: list, latency_budget_ms: float) -> Chosen:
    """The steps of the training pipeline from the photos to the best variant, without the checks."""
    source = {"data": data, "data_revision": "r1", "annotation_format": "auto"}
    scans = scan_in_shards(**source, shards=1).output
    dataset = convert_annotations(**source, scans=scans).outputs["dataset"]
    best = train_variants(
        data=data,
        dataset=dataset,
        weights="starter",
        model="",
        epochs=1,
        imgsz=64,
        batch=8,
        seed=0,
        device="cpu",
        variants=variants,
        trials=0,
        latency_budget_ms=latency_budget_ms,
    )
    return Chosen(**{name: best.outputs[name] for name in Chosen._fields})


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("variants")
    write_sample(folder / "photos", images=12, size=96)
    return folder


@pytest.fixture(scope="module")
def run(work):
    """Run it; gives the folder of the step that chose, what a person saw, and the progress."""

    def start(variants, budget):
        folder, seen = work / f"run-{len(list(work.glob('run-*')))}", []
        folder.mkdir()
        arguments = {"data": str(work / "photos"), "variants": variants, "latency_budget_ms": budget}
        with (folder / "log.txt").open("w") as log, warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(ROOT))
            patch.setenv("HAKKA_HOME", str(work / "home"))
            patch.setattr(logging_utils, "indented_print", logging_utils.indented_print)  # put back afterwards
            patch.setattr(logging.getLogger(), "level", logging.getLogger().level)
            progress = Progress(log, seen.append)
            worker.run_here(training_part, arguments, folder, work / "cache", work / "scratch", progress)
        [chosen] = folder.glob("pipeline/*/choose-variant")
        return chosen, seen, progress

    return start


@pytest.fixture(scope="module")
def first(run):
    """The run of all variants, whatever their speed."""
    return run(VARIANTS, 0.0)


def test_variants_that_differ_in_precision_share_a_training_and_a_model_of_each_is_measured(first):
    _, seen, progress = first
    steps = Counter((step.name, step.state) for step in progress.steps)
    for name in [f"train {title}" for title in TITLES[:2]] + [
        f"{step} {title}" for step in ("export", "evaluate") for title in TITLES
    ]:
        assert steps[name, "done"] == 1
        assert f"{name}: started" in seen
    assert [steps[f"train {TITLES[2]}", "done"], steps["train", "reused"]] == [0, 1]
    assert "train: reused" in seen
    assert any(line.startswith("  train imgsz=64: epoch 1/1") for line in seen)
    assert not [line for line in seen if "━" in line or "Statistics" in line], "no progress bars among the lines"


def test_the_best_is_taken_and_a_budget_refuses_the_slower_without_a_new_training(run, first):
    chosen, *_ = first
    comparison = read_json(chosen / "evaluation" / "variants.json")
    best, *others = comparison["compared"]
    assert sorted(row["title"] for row in comparison["compared"]) == TITLES
    assert all(best["map50"] >= other["map50"] for other in others)
    model = read_json(chosen / "model" / "model.json")
    assert (model["version"], model["imgsz"]) == (best["version"], best["settings"]["imgsz"])
    assert read_json(chosen / "checkpoint" / "train.json")["params"]["imgsz"] == model["imgsz"]
    assert "| imgsz=256 |" in (chosen / "comparison").read_text()

    fast, next_fast, _ = sorted(comparison["compared"], key=lambda row: row["ms"])
    chosen, seen, _ = run(VARIANTS, (fast["ms"] + next_fast["ms"]) / 2)
    assert read_json(chosen / "model" / "model.json")["version"] == fast["version"]
    assert read_json(chosen / "evaluation" / "variants.json")["candidates"] == 1
    for step in ("train", "export", "evaluate"):
        assert seen.count(f"{step}: reused from an earlier run") == 1


def test_where_no_variant_is_fast_enough_the_gate_keeps_the_champion_and_says_why(first, tmp_path):
    turns = first[0].parent
    folders = [
        list(turns.glob(f"for-loop-*-iteration-*/{output}"))
        for output in ("train-detector/checkpoint", "export-detector/model", "evaluate-detector/evaluation")
    ]
    assert [len(found) for found in folders] == [2, 3, 3]
    outs = [tmp_path / name for name in ("checkpoint", "model", "evaluation", "comparison")]
    comparison = choose(*folders, 0.001, outs)
    (tmp_path / "champion").mkdir()
    write_json(tmp_path / "champion" / "metrics.json", {"champion": None})
    params = read_section(GateParams, "gate", floor=0.0)
    decision = decide(tmp_path / "evaluation", tmp_path / "champion", tmp_path / "decision", params)
    fastest = min(comparison["compared"], key=lambda row: row["ms"])
    assert not decision.promote
    assert decision.reason == (
        "no variant is within the latency budget of 0.001 ms a photo: "
        f"the fastest, {fastest['title']}, takes {fastest['ms']:.1f} ms"
    )

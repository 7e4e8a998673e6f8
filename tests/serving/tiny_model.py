"""A real detector of a few kilobytes: an OpenVINO model that finds the same two things on every photo."""

import importlib
from pathlib import Path

import numpy as np

from hakka.detector.engine import load_openvino
from hakka.detector.modelfile import FORMAT, write_record
from hakka.files import read_json, write_json
from hakka.registry import register

openvino = load_openvino()
op = importlib.import_module("openvino.opset13")

NAMES = ("apple", "banana", "carrot")
IMGSZ = 64
# left, top, right, bottom in pixels of the 64 px input, score, class
# A slow model takes the time that ``work`` says only so: a CPU may be twice as fast in bf16.
AS_SLOW_AS_SAID = ("--inference-precision", "f32")
FOUND = ((8, 8, 24, 24, 0.9, 0), (32, 16, 60, 48, 0.6, 1))


def build_model_folder(folder: Path, found=FOUND, names=NAMES, work=0) -> Path:
    """Write a model folder that ``load_detector`` takes; what it finds decides its version.

    ``work`` makes it slow: so many products of two 1500 x 1500 matrices, each some 0.1 s on one core in f32.
    """
    folder.mkdir(parents=True)
    rows = np.zeros((1, 300, 6), np.float32)
    rows[0, : len(found)] = found
    image = op.parameter([1, 3, IMGSZ, IMGSZ], np.float32, name="images")
    # The input takes part (times zero), so that the engine cannot fold the model to a constant and skip it.
    mean = op.reduce_mean(image, [0, 1, 2, 3], keep_dims=False)
    for _ in range(work):
        square = op.broadcast(mean, [1500, 1500])
        mean = op.reduce_mean(op.matmul(square, square, False, False), [0, 1], keep_dims=False)
    nothing = op.multiply(op.minimum(mean, np.float32(1)), np.float32(0))
    openvino.save_model(
        openvino.Model([op.add(op.constant(rows), nothing)], [image], "tiny"),
        folder / "model.xml",
        compress_to_fp16=False,
    )
    write_record(
        folder,
        {
            "format": FORMAT,
            "name": "hakka",
            "names": list(names),
            "imgsz": IMGSZ,
            "thresholds": {"confidence": 0.25, "iou": 0.7},
            "data": {"revision": "data-1", "digest": "0" * 64},
            "code": {"version": "0.1.0", "commit": "abc1234"},
            "metrics": {"map50": 0.9, "map50_95": 0.6, "per_class": {}},
            "clearml_task": None,
            "kfp_run": None,
            "created": "2026-01-01T00:00:00+00:00",
        },
    )
    return folder


def register_model(folder: Path, registry: Path) -> str:
    """Register a model folder with made-up metrics, as the end of a training would; gives its version."""
    evaluation = folder.with_name(f"{folder.name}-evaluation")
    metrics = {"map50": 0.9, "map50_95": 0.6, "images": 10, "boxes": 20, "per_class": {}}
    write_json(evaluation / "metrics.json", {"version": read_json(folder / "model.json")["version"], **metrics})
    return register(folder, evaluation, registry, {"data": "sample", "data_revision": "data-1", "run": "run-1"})

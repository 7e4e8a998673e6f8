"""What training, export and evaluation import, imported beforehand: for a process that others are forked from."""

import importlib

from hakka.detector.engine import load_openvino
from hakka.detector.torch_compat import load_ultralytics
from hakka.settings import read_settings


def preload() -> None:
    """Import it all. No GPU is asked for work, and no thread is started but numpy's, which takes forks into account."""
    load_openvino()
    load_ultralytics(read_settings().home / "ultralytics")
    for name in ("models.yolo.detect", "engine.exporter", "nn.tasks"):
        importlib.import_module(f"ultralytics.{name}")
    for name in ("evaluate", "export", "train"):
        importlib.import_module(f"hakka.detector.{name}")

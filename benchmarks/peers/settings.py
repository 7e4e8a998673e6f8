"""How every peer opens the exported model and asks it."""

from pathlib import Path
from typing import Any

import yaml

from hakka.detector.torch_compat import load_ultralytics

# Hakka's own thresholds: its default confidence, and the overlap that model.json names.
SETTINGS: dict[str, Any] = {"conf": 0.25, "iou": 0.5, "max_det": 300, "verbose": False}


def open_model(exported: Path) -> Any:
    """The exported model, ready to ``predict`` at the size that it was exported for."""
    load_ultralytics(exported.parent / "settings")
    from ultralytics import YOLO

    SETTINGS["imgsz"] = yaml.safe_load((exported / "metadata.yaml").read_text())["imgsz"]
    return YOLO(exported, task="detect")

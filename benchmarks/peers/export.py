"""ultralytics' own OpenVINO export of a Hakka model's weights: ``python -m benchmarks.peers.export MODEL PHOTOS OUT``.

Writes ``OUT/fp32_openvino_model``, ``OUT/flexible_openvino_model`` (FP32 too, for inputs of any shape, as Hakka's) and
``OUT/int8_openvino_model``. As in Hakka's export, a head without NMS is exported
only if the model folder's is one. INT8 is calibrated on the photos, by ultralytics' own choice of what stays in FP32.
"""

import sys
from pathlib import Path

import torch
import yaml

from hakka.detector.checkpoint import load_checkpoint
from hakka.detector.torch_compat import load_ultralytics
from hakka.files import read_json


def main(model: Path, photos: Path, out: Path) -> None:
    """Export all three."""
    from ultralytics import YOLO
    from ultralytics.utils import DEFAULT_CFG_DICT

    checkpoint = load_checkpoint(model / "weights.safetensors")
    module = checkpoint.build()
    module.args = DEFAULT_CFG_DICT | {"task": "detect", "imgsz": checkpoint.imgsz}
    data = out / "photos.yaml"
    places = dict.fromkeys(("train", "val"), str(photos.resolve()))
    data.write_text(yaml.safe_dump(places | {"names": dict(enumerate(checkpoint.names))}))
    nms = False if read_json(model / "model.json")["nms_free"] else None
    kinds = {"fp32": {}, "flexible": {"dynamic": True}, "int8": {"quantize": 8, "data": str(data)}}
    for name, options in kinds.items():
        path = out / f"{name}.pt"
        torch.save({"model": module, "train_args": module.args}, path)
        written = YOLO(path).export(format="openvino", imgsz=checkpoint.imgsz, batch=1, nms=nms, **options)
        Path(written).rename(out / f"{name}_openvino_model")


if __name__ == "__main__":
    load_ultralytics(Path(sys.argv[3]) / "settings")
    main(*map(Path, sys.argv[1:]))

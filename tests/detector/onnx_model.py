"""A small real network, as ONNX and as OpenVINO IR: random weights, boxes that depend on the photo."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hakka.detector.engine import load_openvino
from hakka.detector.modelfile import FORMAT, write_record

NAMES = ("apple", "banana", "carrot")
IMGSZ = 64


def build_onnx_folder(folder: Path, batch: int | str = 1) -> Path:
    """A model folder with both files; a ``batch`` that is a name leaves the number of pictures open."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    # 8 x 8 anchors of centre, size and three class scores; weights of mean 0 and a bias by which some are found.
    weights = random.normal(0, 0.05, (7, 3, 8, 8)).astype(np.float32)
    weights -= weights.mean(axis=(1, 2, 3), keepdims=True)
    bias = np.array([32, 32, 24, 24, 0.35, 0.3, 0.2], np.float32)
    weights[:4] *= 8
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["images", "weights", "bias"], ["cells"], strides=[8, 8]),
            helper.make_node("Reshape", ["cells", "shape"], ["output"]),
        ],
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, IMGSZ, IMGSZ])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [batch, 7, 64])],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(bias, "bias"),
            numpy_helper.from_array(np.array([0 if isinstance(batch, str) else batch, 7, 64]), "shape"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    openvino = load_openvino()
    openvino.save_model(openvino.Core().read_model(folder / "model.onnx"), folder / "model.xml", compress_to_fp16=False)
    thresholds = {"confidence": 0.4, "iou": 0.5}
    write_record(folder, {"format": FORMAT, "names": list(NAMES), "imgsz": IMGSZ, "thresholds": thresholds})
    return folder

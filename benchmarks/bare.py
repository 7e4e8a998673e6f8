"""OpenVINO's own asynchronous loop over JPEGs, the limit of an endpoint: a helper process of ``serving.py``.

``python benchmarks/bare.py MODEL_DIR PHOTOS``, then a line a run: the seconds. Decoding and letterboxing are Hakka's.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.processes import answer_lines, timed
from hakka.detector.decode import decode_photo
from hakka.detector.engine import choose_precision, load_openvino, openvino_core
from hakka.detector.fit import input_shape, letterbox
from hakka.detector.modelfile import read_model_info


def bare_loop(model: Path, photos: list[bytes]) -> Callable[[float], tuple[float, float]]:
    """What runs OpenVINO's AsyncInferQueue for some seconds, with the work on the pixels in this thread."""
    cv2.setNumThreads(1)
    info = read_model_info(model)
    sides = [info.imgsz if info.stride is None else load_openvino().Dimension(info.imgsz // 2, info.imgsz)] * 2
    network = openvino_core().read_model(str(model / "model.xml"))
    network.reshape([1, 3, *sides])
    config = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": choose_precision()}
    queue = load_openvino().AsyncInferQueue(openvino_core().compile_model(network, "CPU", config))

    def look(number: int) -> None:
        image = decode_photo(photos[number % len(photos)], model_size=info.imgsz).pixels
        pixels = letterbox(image, input_shape(image, info.imgsz, info.stride))[0]
        queue.start_async([pixels.transpose(2, 0, 1)[None].astype(np.float32) / 255])

    return lambda seconds: timed(look, seconds, queue.wait_all)


if __name__ == "__main__":
    answer_lines(bare_loop(Path(sys.argv[1]), [path.read_bytes() for path in sorted(Path(sys.argv[2]).iterdir())]))

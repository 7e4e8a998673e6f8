"""A model in eight bits: smaller and faster, calibrated on training images. Whether it may ship is told elsewhere."""

import contextlib
import io
import logging
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from hakka.boxes import Array
from hakka.detector.engine import load_openvino, openvino_core
from hakka.detector.fit import input_shape, letterbox

_LAYER = re.compile(r"/model\.(\d+)/")


def quantize(model: Path, out: Path, images: Iterable[Array], size: int, stride: int | None) -> None:
    """Write the OpenVINO IR ``model`` (model.xml) to ``out`` with weights and activations of eight bits.

    ``images`` are RGB (height, width, 3) uint8 and are fitted into the model's input, of which ``size`` and ``stride``
    are as in :class:`~hakka.detector.modelfile.ModelInfo`. The ranges of activations are taken from them (post-training
    quantization, Jacob et al., CVPR 2018). What follows the last convolutions, where class scores and box sides are put
    together, stays as it is: rounding them costs boxes.
    """
    import nncf

    logging.getLogger("nncf").setLevel(logging.ERROR)
    network = openvino_core().read_model(model)
    operations = network.get_ordered_ops()
    numbers = [int(found.group(1)) for op in operations if (found := _LAYER.search(op.get_friendly_name()))]
    head = f"/model.{max(numbers, default=-1)}/"
    kept = [
        op.get_friendly_name()
        for op in operations
        if op.get_type_name() == "Sigmoid"
        or (op.get_friendly_name().startswith(head) and op.get_type_name() not in ("Convolution", "Constant"))
    ]
    tensors = [_tensor(image, size, stride) for image in images]
    with contextlib.redirect_stdout(io.StringIO()):  # its progress bars, which are redrawn also where no terminal is
        quantized = nncf.quantize(
            network,
            nncf.Dataset(tensors),
            subset_size=len(tensors),
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=nncf.IgnoredScope(names=kept, validate=False),
        )
    load_openvino().save_model(quantized, str(out), compress_to_fp16=False)


def _tensor(image: Array, size: int, stride: int | None) -> Array:
    pixels, *_ = letterbox(image, input_shape(image, size, stride))
    return pixels.transpose(2, 0, 1)[None].astype(np.float32) / 255

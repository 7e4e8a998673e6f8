"""The one door to OpenVINO and ONNX Runtime: a model folder to a function from pixels to the model's raw output.

OpenVINO comes in without the part that reports every import and conversion to its maker. ONNX Runtime is optional: it
takes over where OpenVINO is missing, where it is asked for, and where the machine has a GPU that it can use.
"""

import importlib
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from hakka.boxes import Array
from hakka.errors import InvalidInput, Unavailable

ENGINES = ("auto", "openvino", "onnxruntime")
PRECISIONS = ("auto", "f32")
BF16_GAIN = 1.15  # times as fast as f32 that bf16 must be to be worth its rounding
# What a container or a machine with an NVIDIA GPU shows; importing ONNX Runtime to ask it would cost every start.
GPU_DEVICES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))

# (n, height, width, 3) uint8 RGB → the model's raw output, one row of its first axis a picture; from any thread.
Runner = Callable[[Array], Array]


@dataclass(frozen=True)
class Compiled:
    """A model that is ready to run: the ``runner``, and for people to read the engine, the device and the precision.

    A ``flexible`` one takes pictures of every shape, another only squares. The ``precision`` is that of the floating
    numbers between the layers, f32 or bf16; the engine chooses another one where it runs a model on a GPU.
    """

    runner: Runner
    flexible: bool
    engine: str
    device: str
    precision: str


def load_openvino() -> Any:
    """The openvino package, with its telemetry shut off.

    OpenVINO sends an event at import unless a file in the user's HOME says no; a container's HOME may not be writable.
    It falls back to a stub where the telemetry package cannot be imported, so that is what we make it find.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None makes an import of it fail
    return importlib.import_module("openvino")


def load_onnxruntime() -> Any:
    """The onnxruntime package, with its telemetry shut off.

    Raises:
        Unavailable: it is not installed.
    """
    try:
        package = importlib.import_module("onnxruntime")
    except ImportError:
        raise Unavailable("the engine onnxruntime is not installed here: pip install onnxruntime") from None
    package.disable_telemetry_events()
    return package


@cache
def openvino_core() -> Any:
    """The process's one OpenVINO core, which lives as long as the process.

    A core that is dropped unloads its plug-ins, and with them the stack on which signals are handled: the next SIGTERM
    then crashes the process. A server that switches versions would drop one a switch.
    """
    return load_openvino().Core()


def choose_engine(folder: Path, wanted: str = "auto") -> str:
    """The engine for a model folder, ``openvino`` or ``onnxruntime``.

    ``auto`` is ONNX Runtime where a GPU is there for it, else OpenVINO, else ONNX Runtime.

    Raises:
        InvalidInput: there is no engine of that name.
        Unavailable: neither package is installed, or not the one that is asked for.
    """
    if wanted not in ENGINES:
        raise InvalidInput(f"an engine must be one of {', '.join(ENGINES)}, got {wanted!r}")
    present = {name for name in ENGINES[1:] if find_spec(name) is not None}
    if wanted != "auto":
        if wanted not in present:
            raise Unavailable(f"the engine {wanted} is not installed here: pip install {wanted}")
        return wanted
    if not present:
        raise Unavailable("no engine is installed here: pip install openvino, or onnxruntime")
    onnx = "onnxruntime" in present and (folder / "model.onnx").is_file()
    if onnx and any(path.exists() for path in GPU_DEVICES) and _gpu_providers():
        return "onnxruntime"
    return "openvino" if "openvino" in present else "onnxruntime"


def choose_precision(wanted: str = "auto") -> str:
    """In which precision OpenVINO computes on this CPU, ``f32`` or ``bf16``.

    ``auto`` is bf16 where that is clearly faster, which a few convolutions tell: some CPUs that have its instructions
    are slower with them. It rounds what goes from layer to layer to 8 bits, the boxes themselves are put together in
    f32: they differ by a fraction of a pixel.

    Raises:
        InvalidInput: there is no choice of that name.
    """
    if wanted not in PRECISIONS:
        raise InvalidInput(f"a precision must be one of {', '.join(PRECISIONS)}, got {wanted!r}")
    return "bf16" if wanted == "auto" and _bf16_gain() >= BF16_GAIN else "f32"


@cache
def _bf16_gain() -> float:
    """How many times as fast as in f32 a CPU convolves in bf16; 0 if it has no instructions for that."""
    if "BF16" not in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return 0.0
    openvino, op = load_openvino(), importlib.import_module("openvino.opset13")
    image = value = op.parameter([1, 64, 40, 40], np.float32)
    weights = np.full((64, 64, 3, 3), 0.01, np.float32)
    for _ in range(4):
        value = op.convolution(value, op.constant(weights), [1, 1], [1, 1], [1, 1], [1, 1])
    model, picture = openvino.Model([value], [image]), np.ones((1, 64, 40, 40), np.float32)
    seconds = {}
    for precision in ("f32", "bf16"):
        config = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False}
        request = openvino_core().compile_model(model, "CPU", config).create_infer_request()
        seconds[precision] = min(_seconds(partial(request.infer, [picture])) for _ in range(6))
    return seconds["f32"] / seconds["bf16"]


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def compile_model(
    folder: Path, engine: str, size: int, *, threads: int = 0, streams: int = 1, batch: int = 1, precision: str = "f32"
) -> Compiled:
    """Compile a model for ``streams`` inferences side by side on ``threads`` cores together (0: the engine chooses).

    With one stream all threads work on one picture, for the least latency. A ``batch`` above 1 gives a runner that
    takes 1 to ``batch`` squares of ``size`` pixels at once; one of 1 takes exactly one picture, on a CPU of any shape
    that the model file leaves open. The ``precision`` is one of ``choose_precision``; ONNX Runtime has f32 alone.

    Raises:
        InvalidInput: the model's batch is fixed and ``batch`` is above 1, or the folder has no file for the engine.
    """
    name = "model.xml" if engine == "openvino" else "model.onnx"
    if not (folder / name).is_file():
        raise InvalidInput(f"{folder}: the engine {engine} needs {name}, which is not in this model")
    if engine == "openvino":
        return _compile_openvino(folder / name, size, threads, streams, batch, precision)
    return _compile_onnxruntime(folder / name, threads, streams, batch)


def _compile_openvino(path: Path, size: int, threads: int, streams: int, batch: int, precision: str) -> Compiled:
    core = openvino_core()
    model = core.read_model(path)
    flexible = batch == 1 and model.inputs[0].partial_shape[2].is_dynamic
    sides = [load_openvino().Dimension(size // 2, size)] * 2 if flexible else [size, size]
    _set_shape(model, batch, sides, path)
    # Pinned threads of all the containers of a host would meet on its first cores.
    config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": precision, "ENABLE_CPU_PINNING": False}
    config |= {"PERFORMANCE_HINT": "LATENCY"} if streams == 1 else {"NUM_STREAMS": streams}
    if threads:
        config["INFERENCE_NUM_THREADS"] = threads
    compiled = core.compile_model(_with_pixels_as_input(model), "CPU", config)
    name = f"openvino {load_openvino().__version__.split('-')[0]}"
    return Compiled(_openvino_runner(compiled), flexible, name, "CPU", precision)


def _set_shape(model: Any, batch: int, sides: list[Any], path: Path) -> None:
    try:
        model.reshape([load_openvino().Dimension(1, batch), 3, *sides])
    except RuntimeError:  # a size of one picture is written into a node of the graph
        raise InvalidInput(f"{path}: the model's batch is fixed") from None
    if batch > 1 and model.outputs[0].partial_shape[0].is_static:
        raise InvalidInput(f"{path}: the model's batch is fixed")


def _with_pixels_as_input(model: Any) -> Any:
    """The model with the division by 255 and the change of layout inside: one pass over the pixels less in numpy."""
    openvino = load_openvino()
    steps = importlib.import_module("openvino.preprocess").PrePostProcessor(model)
    steps.input().tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    steps.input().model().set_layout(openvino.Layout("NCHW"))
    steps.input().preprocess().convert_element_type(openvino.Type.f32).scale(255.0)
    return steps.build()


def _openvino_runner(compiled: Any) -> Runner:
    # A request holds the buffers of one inference, so making one costs; a deque's ends are safe between threads.
    idle: deque[Any] = deque()
    tensor = load_openvino().Tensor

    def run(squares: Array) -> Array:
        try:
            request = idle.pop()
        except IndexError:
            request = compiled.create_infer_request()
        try:
            # As a tensor, because OpenVINO's way from an array to one takes 0.2 ms.
            return np.asarray(request.infer(tensor(squares, shared_memory=True), share_inputs=True)[0])
        finally:
            idle.append(request)

    return run


def _compile_onnxruntime(path: Path, threads: int, streams: int, batch: int) -> Compiled:
    package = load_onnxruntime()
    options = package.SessionOptions()
    options.log_severity_level = 3
    options.inter_op_num_threads = 1
    # The callers of a session share its threads; with one an inference it runs in the caller's own.
    options.intra_op_num_threads = max(1, threads // streams) if threads else 0
    # Threads that spin while they wait take the cores from decoding.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = package.InferenceSession(str(path), options, providers=[*_gpu_providers(), "CPUExecutionProvider"])
    [given] = session.get_inputs()
    if batch > 1 and isinstance(given.shape[0], int):
        raise InvalidInput(f"{path}: the model's batch is fixed")
    device = session.get_providers()[0].removesuffix("ExecutionProvider")
    # A GPU's libraries choose their way anew for every shape, which takes longer than the work that it saves.
    flexible = batch == 1 and not isinstance(given.shape[2], int) and device == "CPU"
    name = f"onnxruntime {package.__version__}"
    return Compiled(_onnxruntime_runner(session, given.name), flexible, name, device, "f32")


def _gpu_providers() -> list[str]:
    """The GPU providers that take part, best first.

    TensorRT builds an engine for minutes at each start, unless its cache is on (ORT_TENSORRT_ENGINE_CACHE_ENABLE=1).
    """
    with suppress(Unavailable):
        known = load_onnxruntime().get_available_providers()
        cached = os.environ.get("ORT_TENSORRT_ENGINE_CACHE_ENABLE") == "1"
        wanted = ["TensorrtExecutionProvider"] * cached + ["CUDAExecutionProvider"]
        return [name for name in wanted if name in known]
    return []


def _onnxruntime_runner(session: Any, name: str) -> Runner:
    import cv2

    def run(squares: Array) -> Array:
        tensor = cv2.dnn.blobFromImages(list(squares), 1 / 255)
        return np.asarray(session.run(None, {name: tensor})[0])

    return run

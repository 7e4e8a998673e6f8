"""The one door to OpenVINO and ONNX Runtime: a model folder to a function from pixels to the model's raw output.

OpenVINO comes in without the part that reports every import and conversion to its maker. ONNX Runtime is optional: it
takes over where OpenVINO is missing, where it is asked for, and where the machine has a GPU that it can use.
"""

import importlib
import os
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from hakka.boxes import Array
from hakka.errors import InvalidInput, Unavailable

ENGINES = ("auto", "openvino", "onnxruntime")
# What a container or a machine with an NVIDIA GPU shows; importing ONNX Runtime to ask it would cost every start.
GPU_DEVICES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))

# (n, height, width, 3) uint8 RGB → the model's raw output, one row of its first axis a picture; from any thread.
Runner = Callable[[Array], Array]


@dataclass(frozen=True)
class Compiled:
    """A model that is ready to run: the ``runner``, and the engine and device that run it, for people to read.

    A ``flexible`` one takes pictures of every shape, another only squares.
    """

    runner: Runner
    flexible: bool
    engine: str
    device: str


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


def compile_model(
    folder: Path, engine: str, size: int, *, threads: int = 0, streams: int = 1, batch: int = 1
) -> Compiled:
    """Compile a model for ``streams`` inferences side by side on ``threads`` cores together (0: the engine chooses).

    With one stream all threads work on one picture, for the least latency. A ``batch`` above 1 gives a runner that
    takes 1 to ``batch`` squares of ``size`` pixels at once; one of 1 takes exactly one picture, on a CPU of any shape
    that the model file leaves open.

    Raises:
        InvalidInput: the model's batch is fixed and ``batch`` is above 1, or the folder has no file for the engine.
    """
    compiler = _compile_openvino if engine == "openvino" else _compile_onnxruntime
    name = "model.xml" if engine == "openvino" else "model.onnx"
    if not (folder / name).is_file():
        raise InvalidInput(f"{folder}: the engine {engine} needs {name}, which is not in this model")
    return compiler(folder / name, size, threads, streams, batch)


def _compile_openvino(path: Path, size: int, threads: int, streams: int, batch: int) -> Compiled:
    core = openvino_core()
    model = core.read_model(path)
    flexible = batch == 1 and model.inputs[0].partial_shape[2].is_dynamic
    sides = [load_openvino().Dimension(size // 2, size)] * 2 if flexible else [size, size]
    _set_shape(model, batch, sides, path)
    # OpenVINO chooses bf16 on some CPUs, which is slower there and less exact. Pinned threads of all the containers of
    # a host would meet on its first cores.
    config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}
    config |= {"PERFORMANCE_HINT": "LATENCY"} if streams == 1 else {"NUM_STREAMS": streams}
    if threads:
        config["INFERENCE_NUM_THREADS"] = threads
    compiled = core.compile_model(_with_pixels_as_input(model), "CPU", config)
    name = f"openvino {load_openvino().__version__.split('-')[0]}"
    return Compiled(_openvino_runner(compiled), flexible, name, "CPU")


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


def _compile_onnxruntime(path: Path, size: int, threads: int, streams: int, batch: int) -> Compiled:
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
    return Compiled(_onnxruntime_runner(session, given.name), flexible, f"onnxruntime {package.__version__}", device)


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

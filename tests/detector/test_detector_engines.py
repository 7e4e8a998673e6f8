"""The same boxes whatever runs the model and however: engine, threads, streams, batch."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from hakka.detector import batching, engine
from hakka.detector.batching import Batcher, choose_batch
from hakka.detector.fit import letterbox
from hakka.detector.inference import Plan
from hakka.detector.runtime import load_detector
from hakka.errors import InvalidInput, Unavailable
from tests.detector.onnx_model import build_onnx_folder

PLANS = {
    "streams": Plan("openvino", threads=2, streams=2),
    "one thread": Plan("openvino", threads=1),
    "onnxruntime": Plan("onnxruntime", threads=2),
    "onnxruntime streams": Plan("onnxruntime", threads=2, streams=2),
}


@pytest.fixture(scope="module")
def fixed(tmp_path_factory):
    return build_onnx_folder(tmp_path_factory.mktemp("fixed") / "model")


@pytest.fixture(scope="module")
def free(tmp_path_factory):
    return build_onnx_folder(tmp_path_factory.mktemp("free") / "model", batch="n")


@pytest.fixture(scope="module")
def photos():
    random = np.random.default_rng(1)
    return [random.integers(0, 255, (*random.integers(20, 200, 2), 3), dtype=np.uint8) for _ in range(12)]


@pytest.fixture(scope="module")
def expected(fixed, photos):
    found = [load_detector(fixed).detect(photo) for photo in photos]
    assert sum(map(len, found)) > len(photos)
    return found


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.class_ids.tolist() == other.class_ids.tolist()
        np.testing.assert_allclose(one.boxes, other.boxes, atol=0.02)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)


def test_the_default_reads_the_model_as_numpy_would(fixed, photos):
    """The division by 255 and the layout are inside the compiled model: its output is that of the plain network."""
    square = letterbox(photos[0], (64, 64))[0]
    plain = engine.openvino_core().compile_model(str(fixed / "model.xml"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    wanted = plain([square.transpose(2, 0, 1)[None].astype(np.float32) / 255])[0]
    np.testing.assert_allclose(load_detector(fixed).inference.wide(square[None]), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", PLANS)
def test_every_plan_finds_the_same_boxes_also_from_many_threads(fixed, photos, expected, name):
    detector = load_detector(fixed, PLANS[name])
    assert_same([detector.detect(photo) for photo in photos], expected)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda photo: detector.detect(photo, alone=False), photos * 3))
    assert_same(found, expected * 3)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_batches_find_the_same_boxes(free, photos, expected, name):
    detector = load_detector(free, Plan(name, threads=2, batch=4))
    assert (detector.inference.batch, detector.inference.why) == (4, "set")
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda photo: detector.detect(photo, alone=False), photos * 3))
    assert_same(found, expected * 3)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_auto_measures_where_it_can_and_says_why_not_where_it_cannot(fixed, free, photos, expected, name):
    stuck = load_detector(fixed, Plan(name, threads=2, streams=2, batch=0)).inference
    assert (stuck.batch, stuck.why) == (1, "the model's batch is fixed")
    detector = load_detector(free, Plan(name, threads=2, streams=2, batch=0))
    assert detector.inference.why.startswith("measured ")
    assert detector.inference.batch in (1, 8)
    assert_same([detector.detect(photo, alone=False) for photo in photos], expected)


def test_a_batch_of_a_fixed_model_is_refused(fixed):
    for name in ("openvino", "onnxruntime"):
        with pytest.raises(InvalidInput, match="the model's batch is fixed"):
            load_detector(fixed, Plan(name, batch=4)).warm_up()


def flat(squares):
    return squares.reshape(len(squares), -1)[:, :4].astype(np.float32)


@pytest.fixture
def clock(monkeypatch):
    """The time by which runners are measured, in seconds; it passes only where a test says so."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(batching, "time", SimpleNamespace(perf_counter=lambda: now.seconds))
    return now


def test_batches_are_chosen_where_they_win_and_not_where_they_do_not(clock):
    def slow_runner(a_call: float, a_picture: float):
        def run(squares):
            clock.seconds += a_call + a_picture * len(squares)
            return flat(squares)

        return run

    cheap_together, single, dear_together = slow_runner(0.01, 0), slow_runner(0, 0.01), slow_runner(0, 0.02)
    assert choose_batch(cheap_together, lambda _: cheap_together, size=8, streams=1, limit=8)[0] == 8
    assert choose_batch(single, lambda _: dear_together, size=8, streams=1, limit=8)[0] == 1


def test_a_batch_that_answers_something_else_is_not_chosen():
    batch, why = choose_batch(flat, lambda _: lambda squares: flat(squares) + 1, size=8, streams=1, limit=4)
    assert (batch, why) == (1, "a batch gives other boxes than single pictures")


def test_a_batch_takes_what_waits_and_gives_everybody_his_own():
    sizes, busy, go = [], threading.Event(), threading.Event()

    def run(squares):
        sizes.append(len(squares))
        busy.set()
        go.wait(20)
        return squares.astype(np.float32)

    batcher = Batcher(run, 4)
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(batcher, np.full((1, 2), 99))
        busy.wait(20)
        rest = [pool.submit(batcher, np.full((1, 2), number)) for number in range(5)]
        while len(batcher._waiting) < 5:
            time.sleep(0.001)
        go.set()
        assert [future.result(20)[0, 0] for future in [first, *rest]] == [99, 0, 1, 2, 3, 4]
    assert sizes == [1, 4, 1]


def test_an_error_reaches_everybody_in_the_batch():
    def run(_):
        raise RuntimeError("engine")

    with pytest.raises(RuntimeError, match="engine"):
        Batcher(run, 4)(np.zeros((1, 2)))


@pytest.mark.parametrize(
    ("installed", "wanted", "expected"),
    [
        ({"openvino", "onnxruntime"}, "auto", "openvino"),
        ({"openvino"}, "auto", "openvino"),
        ({"onnxruntime"}, "auto", "onnxruntime"),
        ({"openvino", "onnxruntime"}, "onnxruntime", "onnxruntime"),
    ],
)
def test_the_engine_that_is_there_is_taken(fixed, monkeypatch, installed, wanted, expected):
    monkeypatch.setattr(engine, "find_spec", lambda name: name if name in installed else None)
    assert engine.choose_engine(fixed, wanted) == expected


def test_a_gpu_that_onnxruntime_can_use_wins(fixed, monkeypatch, tmp_path):
    monkeypatch.setattr(engine, "GPU_DEVICES", (tmp_path,))
    assert engine.choose_engine(fixed) == "openvino"  # the package that is installed here knows no GPU
    monkeypatch.setattr(engine, "_gpu_providers", lambda: ["CUDAExecutionProvider"])
    assert engine.choose_engine(fixed) == "onnxruntime"


def test_a_missing_engine_is_said_in_a_sentence(fixed, tmp_path, monkeypatch):
    with pytest.raises(InvalidInput, match="an engine must be one of auto, openvino, onnxruntime, got 'torch'"):
        engine.choose_engine(fixed, "torch")
    with pytest.raises(InvalidInput, match=r"the engine onnxruntime needs model\.onnx"):
        engine.compile_model(tmp_path, "onnxruntime", 64)
    monkeypatch.setattr(engine, "find_spec", lambda _: None)
    with pytest.raises(Unavailable, match="the engine onnxruntime is not installed here: pip install onnxruntime"):
        engine.choose_engine(fixed, "onnxruntime")
    with pytest.raises(Unavailable, match="no engine is installed here"):
        engine.choose_engine(fixed)


def test_the_precision_is_the_one_that_is_faster_here(monkeypatch):
    for gain, expected in ((0.0, "f32"), (0.7, "f32"), (1.05, "f32"), (1.6, "bf16")):
        monkeypatch.setattr(engine, "_bf16_gain", lambda gain=gain: gain)
        assert engine.choose_precision() == expected
        assert engine.choose_precision("f32") == "f32"
    with pytest.raises(InvalidInput, match="a precision must be one of auto, f32, got 'int8'"):
        engine.choose_precision("int8")


def test_a_cpu_without_the_instructions_is_not_measured(monkeypatch):
    core = SimpleNamespace(get_property=lambda *_: ["FP32", "INT8"])
    monkeypatch.setattr(engine, "openvino_core", lambda: core)
    assert engine._bf16_gain.__wrapped__() == 0.0

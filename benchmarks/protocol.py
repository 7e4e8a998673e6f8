"""A v2 request of 0.9 MB of pixels: ``python benchmarks/protocol.py MODEL_DIR [--repeats N]``.

How long reading it takes here and in KServe's own code (the same bytes, one after the other in this process, the same
pixels in the end), and how long a request takes from a client to a server of its own. What KServe and the protocols
cost without a model is in ``overhead.py``.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from serving.protocol import parse_v2  # noqa: E402
from tests.serving.server import running_server  # noqa: E402

SIDE = 548


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    """The median time of a call."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, metavar="MODEL_DIR")
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    from kserve.protocol.infer_type import InferRequest

    pixels = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    tensor = {"name": "image", "datatype": "UINT8", "shape": list(pixels.shape)}
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": pixels.nbytes}}]}).encode()
    binary = head + pixels.tobytes()
    text = json.dumps({"inputs": [tensor | {"data": pixels.ravel().tolist()}]}).encode()
    headers = {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"}

    def ours() -> np.ndarray:
        return parse_v2(binary, str(len(head))).queries[0].image

    def theirs() -> np.ndarray:
        return InferRequest.from_bytes(binary, len(head), "hakka").inputs[0].as_numpy()

    assert (ours() == pixels).all()
    assert (theirs() == pixels).all()
    size, here, there = pixels.nbytes / 1e6, milliseconds(ours, options.repeats), milliseconds(theirs, 5)
    copy = milliseconds(lambda: bytearray(binary), options.repeats)
    print(f"{size:.2f} MB UINT8, read from binary: ours {here:.3f} ms, KServe {there:.0f} ms; a copy {copy:.3f} ms")
    print(f"the same as JSON ({len(text) / 1e6:.1f} MB): ours {milliseconds(lambda: parse_v2(text), 5):.0f} ms")
    with (
        running_server("--model-dir", options.model, "--no-log") as server,
        httpx.Client(base_url=server.url) as client,
    ):

        def request() -> None:
            client.post("/v2/models/hakka/infer", content=binary, headers=headers).raise_for_status()

        print(f"request and answer, binary: {milliseconds(request, options.repeats):.1f} ms")


if __name__ == "__main__":
    main()

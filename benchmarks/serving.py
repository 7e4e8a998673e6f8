"""The endpoint beside the engine under it: ``python benchmarks/serving.py MODEL_DIR [--seconds S] [--repeats N]``.

The bare loop is OpenVINO's own AsyncInferQueue that decodes and letterboxes the same JPEGs, on the same cores, with the
same model and precision. The server is a process of its own and so is its client, which runs here and counts. Figures
are medians of runs that take turns. CPU ms is what a photo costs in processor time: it says the same on a busy machine,
where photos a second do not.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.load import Load, closed_loop, open_loop, v2_request  # noqa: E402

CALLERS = (1, 2, 4, 8, 16)
LARGE = (1280, 960)


@dataclass(frozen=True)
class Target:
    """A server to measure: ``start`` gives its URL while it runs, and its process id."""

    name: str
    start: Callable[[Path], Iterator[tuple[str, int]]]
    request: Callable[[str, bytes], bytes]


@contextmanager
def hakka(model: Path, *arguments: str) -> Iterator[tuple[str, int]]:
    """``python -m serving``."""
    command = [sys.executable, "-m", "serving", "--model-dir", str(model), "--no-log", "--port", "0", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        yield line.split(" at ")[1].strip(), process.pid
    finally:
        process.terminate()
        process.wait()


# A peer is one more entry: how it starts, and how a photo is asked of it.
TARGETS = {"hakka": Target("hakka", hakka, v2_request)}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Throughput, latency and overload of the endpoint.")
    parser.add_argument("model", type=Path, metavar="MODEL_DIR")
    parser.add_argument("--photos", type=Path, default=ROOT / "sample" / "images", metavar="DIR")
    parser.add_argument("--large", action="store_true", help=f"enlarge the photos to {LARGE[0]}x{LARGE[1]}")
    parser.add_argument("--target", choices=TARGETS, default="hakka")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=("throughput", "latency", "overload"))
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    photos = read_photos(options.photos, options.large)
    if options.bare:
        run = bare_loop(options.model, photos)
        for line in sys.stdin:
            print(json.dumps(run(float(line))), flush=True)
        return 0
    target = TARGETS[options.target]
    kilobytes = statistics.mean(map(len, photos)) / 1000
    print(f"{len(photos)} photos of {kilobytes:.0f} kB on average, {len(os.sched_getaffinity(0))} cores")
    with target.start(options.model) as (url, process):
        requests = [target.request(url, photo) for photo in photos]
        peak = throughput(options, url, process, requests)
        if options.only in (None, "latency"):
            latency(url, requests, peak, options.seconds * 2)
        if options.only in (None, "overload"):
            overload(url, requests, peak, options.seconds * 2)
    return 0


def read_photos(folder: Path, large: bool) -> list[bytes]:
    """Up to 32 whole JPEGs of a folder."""
    found = []
    for path in sorted(folder.rglob("*.jp*g")):
        try:
            with Image.open(path) as image:
                image.load()
                found.append(_enlarged(image) if large else path.read_bytes())
        except OSError:
            continue  # the sample holds files that are broken on purpose
        if len(found) == 32:
            break
    return found


def _enlarged(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.convert("RGB").resize(LARGE, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def throughput(options: argparse.Namespace, url: str, process: int, requests: list[bytes]) -> float:
    """Print photos a second by callers beside the bare loop, which takes turns with them; gives the highest."""
    rows: dict[int, list[tuple[float, ...]]] = {callers: [] for callers in CALLERS}
    bare: list[tuple[float, float]] = []
    with bare_process(options) as run_bare:
        closed_loop(url, requests, 2, 1.0)
        for _ in range(options.repeats):
            for callers in CALLERS:
                bare.append(run_bare(options.seconds))
                cpu, own = cpu_seconds(process), time.process_time()
                load = closed_loop(url, requests, callers, options.seconds)
                count = len(load.times())
                cpu, own = (cpu_seconds(process) - cpu) * 1000 / count, (time.process_time() - own) * 1000 / count
                rows[callers].append((load.rate(), load.rate() / bare[-1][0], load.at(0.5), cpu, own))
    limit, limit_cpu = (statistics.median(column) for column in zip(*bare, strict=True))
    print(f"{'':<12} photos/s  of bare    p50 ms   CPU ms  client's   CPU of bare")
    print(f"{'bare loop':<12} {limit:8.1f} {'':8} {'':9} {limit_cpu:8.2f}")
    best = 0.0
    for callers, runs in rows.items():
        rate, share, p50, cpu, own = (statistics.median(column) for column in zip(*runs, strict=True))
        best, dear = max(best, rate), limit_cpu / (cpu + own)
        print(
            f"{callers:>3} callers  {rate:8.1f} {share:8.2f} {p50:9.1f} {cpu:8.2f} {own:9.2f} {dear:13.2f}", flush=True
        )
    return best


@contextmanager
def bare_process(options: argparse.Namespace) -> Iterator[Callable[[float], tuple[float, float]]]:
    """Runs the bare loop for some seconds in a process of its own: photos a second, CPU ms a photo."""
    command = [sys.executable, __file__, str(options.model), "--photos", str(options.photos), "--bare"]
    command += ["--large"] * options.large
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(seconds: float) -> tuple[float, float]:
        print(seconds, file=process.stdin, flush=True)
        rate, cpu = json.loads(process.stdout.readline())
        return rate, cpu

    try:
        run(0.5)
        yield run
    finally:
        process.stdin.close()
        process.wait()


def bare_loop(model: Path, photos: list[bytes]) -> Callable[[float], tuple[float, float]]:
    """OpenVINO's async queue with decoding and letterboxing in this thread; gives what runs it for some seconds."""
    import cv2
    import numpy as np

    from hakka.detector.decode import decode_image
    from hakka.detector.engine import load_openvino, openvino_core
    from hakka.detector.modelfile import read_model_info
    from hakka.detector.runtime import letterbox

    cv2.setNumThreads(1)
    size = read_model_info(model).imgsz
    config = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
    queue = load_openvino().AsyncInferQueue(openvino_core().compile_model(str(model / "model.xml"), "CPU", config))

    def run(seconds: float) -> tuple[float, float]:
        start, cpu, count = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - start < seconds:
            square = letterbox(decode_image(photos[count % len(photos)]), size)[0]
            queue.start_async([square.transpose(2, 0, 1)[None].astype(np.float32) / 255])
            count += 1
        queue.wait_all()
        return count / (time.perf_counter() - start), (time.process_time() - cpu) * 1000 / count

    return run


def latency(url: str, requests: list[bytes], peak: float, seconds: float) -> None:
    """Print latencies at 80 % of the peak, evenly spaced and as a Poisson process."""
    for name, poisson in (("evenly", False), ("Poisson", True)):
        load = open_loop(url, requests, 0.8 * peak, seconds, poisson=poisson)
        p50, p99 = load.at(0.5), load.at(0.99)
        print(f"80 % {name:<8} {load.rate():6.1f}/s  p50 {p50:.1f} ms  p99 {p99:.1f} ms  p99/p50 {p99 / p50:.2f}")


def overload(url: str, requests: list[bytes], peak: float, seconds: float) -> None:
    """Print what comes of three times the peak."""
    load: Load = open_loop(url, requests, 3 * peak, seconds)
    others = {status for status, _ in load.answers} - {200, 429}
    print(
        f"300 %: {load.rate():.1f}/s answered ({load.rate() / peak:.2f} of the peak), {load.rate(429):.1f}/s refused, "
        f"429 within p50 {load.at(0.5, 429):.1f} ms, p99 {load.at(0.99, 429):.1f} ms; "
        f"answers p50 {load.at(0.5):.0f} ms, p99 {load.at(0.99):.0f} ms; lost {load.lost}, "
        f"other statuses {others or 'none'}"
    )


def cpu_seconds(process: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())

"""The figures asked of the endpoint: ``python benchmarks/serving.py MODEL_DIR [--peers PYTHON] [--only PART]``.

``throughput``: photos a second by callers, beside OpenVINO's own asynchronous loop that decodes and letterboxes the
same JPEGs (``bare.py``). ``peers``: the same beside ultralytics' own predict, and beside LitServe and BentoML over it
(``peers/``), FP32 and INT8; needs ``--peers``, a Python that has them. ``latency``: at 80 % of the peak.
``overload``: at three times the peak. ``overhead``: KServe and the protocols without a model (``overhead.py``).

All on the same cores, with the same photos, each in a process of its own, in turns; figures are medians. The client
runs here and counts. CPU ms is what a photo costs in processor time: it says the same on a busy machine, where photos a
second do not. Exit code 1 if a figure is not what is asked.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.agreement import Found, agreement, found_by_hakka, found_by_ultralytics  # noqa: E402
from benchmarks.load import (  # noqa: E402
    Load,
    answers_to,
    base64_text,
    closed_loop,
    json_request,
    open_loop,
    upload_request,
    v1_request,
    v2_request,
)
from benchmarks.models import quantized_model  # noqa: E402
from benchmarks.overhead import print_overhead  # noqa: E402
from benchmarks.photos import read_photos, write_photos  # noqa: E402
from benchmarks.processes import cpu_seconds, end_on_sigterm, free_port, helper, server  # noqa: E402
from tests.serving.server import running_server  # noqa: E402

PARTS = ("throughput", "peers", "latency", "overload", "overhead")
CALLERS = (1, 2, 4, 8, 16)
PEER_CALLERS = 8
SAME = 0.9  # of the boxes must be the same before times are compared

Row = tuple[float, ...]  # photos a second, CPU ms a photo, and of a server: the client's CPU ms, p50 in ms


@dataclass(frozen=True)
class Asked:
    """A figure and what is asked of it, at least or at most; nothing of one that only stands beside the others."""

    name: str
    figure: float
    least: float | None = None
    most: float | None = None

    @property
    def holds(self) -> bool:
        """The figure is as asked."""
        return (self.least is None or self.figure >= self.least) and (self.most is None or self.figure <= self.most)

    def __str__(self) -> str:
        rule = "" if self.most is None else f"at most {self.most:g}"
        rule = rule if self.least is None else f"at least {self.least:g}"
        return f"{self.name:<58} {self.figure:8.2f}   {rule:<14} {'' if self.holds else 'NOT MET'}"


@dataclass(frozen=True)
class Bench:
    """What is measured, and how long."""

    model: Path
    photos: list[bytes]
    folder: Path  # holds the photos as files
    scratch: Path
    peers: Path | None
    seconds: float
    repeats: int


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="MODEL_DIR")
    parser.add_argument("--photos", type=Path, default=ROOT / "sample" / "images", metavar="DIR")
    parser.add_argument(
        "--size", type=_size, metavar="WxH", help="make the photos so large, such as a phone's 4032x3024"
    )
    parser.add_argument("--peers", type=Path, metavar="PYTHON", help="of a venv with ultralytics, litserve and bentoml")
    parser.add_argument("--seconds", type=float, default=4.0, help="of one turn")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=PARTS, action="append")
    options = parser.parse_args()
    if "peers" in (options.only or ()) and options.peers is None:
        parser.error("--only peers needs --peers PYTHON")
    end_on_sigterm()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "photos"
        photos = read_photos(options.photos, options.size)
        write_photos(photos, folder)
        model, peers = options.model.resolve(), options.peers and options.peers.absolute()
        bench = Bench(model, photos, folder, Path(scratch), peers, options.seconds, options.repeats)
        kilobytes, load = statistics.mean(map(len, photos)) / 1000, os.getloadavg()[0]
        cores = len(os.sched_getaffinity(0))
        print(f"{len(photos)} photos of {kilobytes:.0f} kB on average, {cores} cores, load {load:.1f}")
        parts = set(options.only or PARTS) - (set() if peers else {"peers"})
        asked = measure(bench, parts)
    print("\n" + "\n".join(map(str, asked)))
    return 0 if all(figure.holds for figure in asked) else 1


def _size(text: str) -> tuple[int, int]:
    width, height = map(int, text.split("x"))
    return width, height


def measure(bench: Bench, parts: set[str]) -> list[Asked]:
    """The figures of some parts."""
    asked: list[Asked] = []
    if parts & {"throughput", "latency", "overload"}:
        with running_server("--model-dir", bench.model, "--no-log") as hakka:
            requests = [v2_request(hakka.url, photo) for photo in bench.photos]
            peak, share = throughput(bench, hakka.url, hakka.process.pid, requests)
            asked.append(Asked("endpoint, of the bare loop", share, least=0.95))
            if "latency" in parts:
                asked += latency(hakka.url, requests, peak, bench.seconds * 2)
            if "overload" in parts:
                asked += overload(bench, hakka.url, requests)
    if "peers" in parts:
        asked += beside_peers(bench)
    if "overhead" in parts:
        print_overhead(bench.photos, bench.seconds, bench.repeats)
    return asked


def throughput(bench: Bench, url: str, process: int, requests: list[bytes]) -> tuple[float, float]:
    """Print photos a second by callers beside the bare loop; gives the highest, and its share of the bare loop."""
    with helper(bare(bench.model, bench.folder)) as ask:
        runs = {"bare loop": ask} | {
            f"{callers} callers": by_callers(url, process, requests, callers) for callers in CALLERS
        }
        rows = in_turns(runs, bench)
    print_rows(rows, "bare loop")
    peak = max(row[0] for name, row in rows.items() if name != "bare loop")
    return peak, peak / rows["bare loop"][0]


def bare(model: Path, photos: Path) -> list[str | Path]:
    """The command of the bare loop."""
    return [sys.executable, ROOT / "benchmarks" / "bare.py", model, photos]


def by_callers(url: str, process: int, requests: list[bytes], callers: int) -> Callable[[float], Row]:
    """What has a server asked for some seconds."""

    def run(seconds: float) -> Row:
        cpu, own = cpu_seconds(process), time.process_time()
        load = closed_loop(url, requests, callers, seconds)
        count = len(load.times()) or 1
        cpu, own = cpu_seconds(process) - cpu, time.process_time() - own
        return load.rate(), cpu * 1000 / count, own * 1000 / count, load.at(0.5)

    return run


def in_turns(runs: dict[str, Callable[[float], Row]], bench: Bench) -> dict[str, Row]:
    """The median row of each, after a short turn that does not count."""
    for run in runs.values():
        run(min(bench.seconds, 1.0))
    rows: dict[str, list[Row]] = {name: [] for name in runs}
    for _ in range(bench.repeats):
        for name, run in runs.items():
            rows[name].append(run(bench.seconds))
    return {name: tuple(map(statistics.median, zip(*found, strict=True))) for name, found in rows.items()}


def print_rows(rows: dict[str, Row], base: str) -> None:
    """A table of rows beside one of them."""
    print(f"\n{'':<34} photos/s  of {base:<16} CPU ms  client's   p50 ms")
    for name, (rate, cpu, *client) in rows.items():
        shown = "{:9.2f} {:8.1f}".format(*client) if client else ""
        print(f"{name:<34} {rate:8.1f} {rate / rows[base][0]:12.2f} {cpu:14.2f} {shown}", flush=True)


def beside_peers(bench: Bench) -> list[Asked]:
    """Compare what is found, print photos a second of all, and give the ratios asked."""
    models = {"FP32": bench.model, "INT8": quantized_model(bench.model, bench.photos, bench.scratch / "int8")}
    # The flexible one fits photos into the same shapes as the endpoint; the other is what export gives by default.
    kinds = {"FP32": "fp32", "flexible FP32": "flexible", "INT8": "int8"}
    exported = {kind: bench.scratch / f"{name}_openvino_model" for kind, name in kinds.items()}
    export_for_peers(bench)
    runs: dict[str, Callable[[float], Row]] = {}
    found: dict[str, list[Found]] = {}
    with ExitStack() as stack:
        for name, model in models.items():
            runs[f"bare loop {name}"] = stack.enter_context(helper(bare(model, bench.folder)))
            hakka = stack.enter_context(running_server("--model-dir", model, "--no-log"))
            requests = [v2_request(hakka.url, photo) for photo in bench.photos]
            runs[f"endpoint {name}"] = by_callers(hakka.url, hakka.process.pid, requests, PEER_CALLERS)
            asking = answers_to(hakka.url, [v1_request(hakka.url, photo) for photo in bench.photos])
            ours = [found_by_hakka(orjson.loads(body)) for body in asking]
            for kind in (name, "flexible FP32") if name == "FP32" else (name,):
                command = [bench.peers, "-m", "benchmarks.peers.predict", exported[kind], bench.folder]
                predict = runs[f"ultralytics predict {kind}"] = stack.enter_context(helper(command))
                theirs = found[kind] = [found_by_ultralytics(photo) for photo in predict(None)]
                compare(f"endpoint {name} and ultralytics predict {kind}", ours, theirs, must=kind == "flexible FP32")
            if name == "FP32":
                for peer, start in (("LitServe", litserve), ("BentoML", bentoml)):
                    url, process, requests = stack.enter_context(start(bench, exported[name]))
                    theirs = [found_by_ultralytics(orjson.loads(body)) for body in answers_to(url, requests)]
                    compare(f"ultralytics predict FP32 and {peer} over it", found["FP32"], theirs)
                    runs[f"{peer} over ultralytics {name}"] = by_callers(url, process, requests, PEER_CALLERS)
        rows = in_turns(runs, bench)
    print_rows(rows, "endpoint FP32")
    return ratios({name: row[0] for name, row in rows.items()})


def export_for_peers(bench: Bench) -> None:
    """Have ultralytics export the model in both precisions, into ``scratch``.

    Raises:
        SystemExit: it fails; what it printed is shown.
    """
    command = [bench.peers, "-m", "benchmarks.peers.export", bench.model, bench.folder, bench.scratch]
    done = subprocess.run([*map(str, command)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(f"the export for the peers failed:\n{done.stdout[-3000:]}")


def ratios(rates: dict[str, float]) -> list[Asked]:
    """What is asked of photos a second."""
    fp32, int8 = rates["endpoint FP32"], rates["endpoint INT8"]
    return [
        Asked("endpoint FP32, times ultralytics predict FP32", fp32 / rates["ultralytics predict FP32"], least=1.8),
        Asked("endpoint FP32, times the same with flexible shapes", fp32 / rates["ultralytics predict flexible FP32"]),
        Asked("endpoint INT8, times ultralytics predict FP32", int8 / rates["ultralytics predict FP32"], least=3.5),
        Asked("endpoint INT8, times ultralytics predict INT8", int8 / rates["ultralytics predict INT8"]),
        Asked("endpoint INT8, of the bare loop INT8", int8 / rates["bare loop INT8"]),
        Asked("endpoint FP32, times LitServe", fp32 / rates["LitServe over ultralytics FP32"], least=2),
        Asked("endpoint FP32, times BentoML", fp32 / rates["BentoML over ultralytics FP32"], least=2),
    ]


def compare(who: str, ours: list[Found], theirs: list[Found], *, must: bool = True) -> None:
    """Print how many boxes are the same.

    Raises:
        SystemExit: too few of them, and they must be.
    """
    same, share = agreement(ours, theirs)
    print(f"{who}: {same} boxes the same, {share:.3f} of all", flush=True)
    if must and share < SAME:
        raise SystemExit(f"{who} do not find the same: times would compare different work")


@contextmanager
def litserve(bench: Bench, exported: Path):
    """LitServe over ultralytics: its address, process and requests."""
    port = free_port()
    url, command = f"http://127.0.0.1:{port}", [bench.peers, "-m", "benchmarks.peers.litserve_server", exported, port]
    with server(command, port) as process:
        yield url, process, [json_request(url, "/predict", {"image": base64_text(photo)}) for photo in bench.photos]


@contextmanager
def bentoml(bench: Bench, exported: Path):
    """BentoML over ultralytics: its address, process and requests."""
    port = free_port()
    url, serve = f"http://127.0.0.1:{port}", "benchmarks.peers.bentoml_service:Detect"
    command = [bench.peers, "-m", "bentoml", "serve", serve, "--host", "127.0.0.1", "--port", port]
    env = {"HAKKA_PEER_MODEL": str(exported), "BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(bench.scratch)}
    with server(command, port, **env) as process:
        yield url, process, [upload_request(url, "/predict", "image", photo) for photo in bench.photos]


def latency(url: str, requests: list[bytes], peak: float, seconds: float) -> list[Asked]:
    """Print latencies at 80 % of the peak, evenly spaced and as a Poisson process."""
    print()
    tails = []
    for name, poisson in (("evenly", False), ("Poisson", True)):
        load = open_loop(url, requests, 0.8 * peak, seconds, poisson=poisson)
        p50, p99 = load.at(0.5), load.at(0.99)
        tails.append(p99 / p50)
        print(f"80 % {name:<8} {load.rate():6.1f}/s  p50 {p50:.1f} ms  p99 {p99:.1f} ms  p99/p50 {tails[-1]:.2f}")
    return [Asked("80 % of the peak, evenly: p99 / p50", tails[0], most=2)]


def overload(bench: Bench, url: str, requests: list[bytes]) -> list[Asked]:
    """Print what comes of three times the peak, which is measured before each turn: a machine's speed changes."""
    load, shares = Load(), []
    for _ in range(bench.repeats):
        peak = closed_loop(url, requests, PEER_CALLERS, bench.seconds).rate()
        turn = open_loop(url, requests, 3 * peak, bench.seconds)
        shares.append(turn.rate() / peak)
        load.answers += turn.answers
        load.lost += turn.lost
        load.seconds += turn.seconds
    others = {status for status, _ in load.answers} - {200, 429}
    print(
        f"300 %: {load.rate():.1f}/s answered, {load.rate(429):.1f}/s refused, "
        f"429 within p50 {load.at(0.5, 429):.1f} ms, p99 {load.at(0.99, 429):.1f} ms; "
        f"answers p50 {load.at(0.5):.0f} ms, p99 {load.at(0.99):.0f} ms; lost {load.lost}, "
        f"other statuses {others or 'none'}"
    )
    wrong = load.lost + sum(status in others for status, _ in load.answers)
    return [
        Asked("three times the peak: answered, of the peak", statistics.median(shares), least=0.9),
        Asked("three times the peak: p99 of the refusals, ms", load.at(0.99, 429), most=50),
        Asked("three times the peak: lost, or answered otherwise", wrong, most=0),
    ]


if __name__ == "__main__":
    sys.exit(main())

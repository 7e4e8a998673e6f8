"""Good and hostile requests for some minutes: ``python benchmarks/soak.py MODEL_DIR [--minutes 30]``.

The callers are in ``soak_callers.py``. Memory, threads and open files of the server are looked at every few seconds; at
the end it is stopped and its prediction log read. Exit code 1 if a good request failed or was answered otherwise than
before, a hostile one was not refused as it should be, something grew, a log file cannot be read, or a row is missing.
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pyarrow.parquet

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.photos import read_photos  # noqa: E402
from benchmarks.processes import end_on_sigterm  # noqa: E402
from benchmarks.soak_callers import BODY_SECONDS, CALLERS, Soak  # noqa: E402
from tests.serving.server import RunningServer, running_server  # noqa: E402

LIMITS = ("--max-body-mib", "8", "--body-seconds", str(BODY_SECONDS), "--grpc-port", "0")  # as the tests' cases expect
SAMPLE_SECONDS = 3.0
WARM_UP = 0.25  # of the time
GROWTH_MIB = 32.0  # asked of memory after the warm-up: no more than this, between its first and its last third
MORE = 12  # threads and open files more, of an idle server, at the end than at the start: pools fill


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="MODEL_DIR")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--photos", type=Path, default=ROOT / "sample" / "images", metavar="DIR")
    options = parser.parse_args()
    end_on_sigterm()
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "log"
        with running_server("--model-dir", options.model.resolve(), "--log", log, *LIMITS) as server:
            soak, samples = run(server, read_photos(options.photos), options.minutes * 60)
            code = server.stop(timeout=60)
        print(*(f"{name:<28} {count:>8}" for name, count in sorted(soak.counts.items())), sep="\n")
        wrong = [*soak.failures, *judge(samples), *read_rows(log, soak.ids)]
    wrong += [f"the server ended with code {code}"] if code else []
    wrong += [f"the server printed: {line}" for line in server.lines if "Traceback" in line or " ERROR " in line]
    print(*wrong[:20], f"{len(wrong)} failures" if wrong else "no failures", sep="\n")
    return 1 if wrong else 0


def run(server: RunningServer, photos: list[bytes], seconds: float) -> tuple[Soak, "Samples"]:
    """All callers at once until the time is up, and what the server took meanwhile."""
    address = next(line for line in server.lines if "gRPC at " in line).split("gRPC at ")[1]
    samples = Samples(server.process.pid)
    samples.take()
    soak = Soak(server.url, address, photos, time.monotonic() + seconds)
    # Daemons, so that one that hangs does not keep the program.
    threads = [threading.Thread(target=go_on, args=(soak, kind), daemon=True) for kind in CALLERS]
    for thread in threads:
        thread.start()
    while soak.goes_on:
        time.sleep(SAMPLE_SECONDS)
        samples.take()
    for thread in threads:
        thread.join(90)
        if thread.is_alive():
            soak.count("callers", "one hangs")
    time.sleep(BODY_SECONDS + 3)
    samples.take()
    return soak, samples


def go_on(soak: Soak, kind: Callable[[Soak, ExitStack], Iterator[None]]) -> None:
    """Take steps of one caller while there is time; begin anew if it fails, which it should not."""
    while soak.goes_on:
        try:
            with ExitStack() as stack:
                for _ in kind(soak, stack):
                    if not soak.goes_on:
                        return
        except Exception:
            soak.count(f"caller {kind.__name__}", traceback.format_exc(limit=-2).replace("\n", " "))


class Samples:
    """What a process has: seconds since the first sample, MiB of memory, threads, open files."""

    def __init__(self, process: int) -> None:
        self._folder = Path(f"/proc/{process}")
        self._start = time.monotonic()
        self.taken: list[tuple[float, float, int, int]] = []

    def take(self) -> None:
        """Look."""
        lines = (self._folder / "status").read_text().splitlines()
        status = dict(line.split(":", 1) for line in lines)
        files = len(list((self._folder / "fd").iterdir()))
        memory = int(status["VmRSS"].split()[0]) / 1024
        self.taken.append((time.monotonic() - self._start, memory, int(status["Threads"]), files))


def judge(samples: Samples) -> list[str]:
    """Print how memory, threads and files went; gives what grew. At the first and last sample the server is idle."""
    start, *busy, end = samples.taken
    warm = busy[int(len(busy) * WARM_UP) :]
    third = max(len(warm) // 3, 1)
    early, late = (statistics.median(one[1] for one in part) for part in (warm[:third], warm[-third:]))
    slope = statistics.linear_regression([one[0] / 60 for one in warm], [one[1] for one in warm]).slope
    print(
        f"memory: {start[1]:.0f} MiB at the start, {early:.0f} after the warm-up, {late:.0f} at the end, "
        f"{end[1]:.0f} when idle again, highest sample {max(one[1] for one in busy):.0f}; {slope:+.2f} MiB a minute"
    )
    wrong = [f"memory grew by {late - early:.0f} MiB"] if late - early > GROWTH_MIB else []
    for column, name in ((2, "threads"), (3, "open files")):
        print(
            f"{name}: {start[column]} at the start, most {max(one[column] for one in busy)}, {end[column]} at the end"
        )
        wrong += [f"{name} grew to {end[column]}"] if end[column] > start[column] + MORE else []
    return wrong


def read_rows(log: Path, ids: set[str]) -> list[str]:
    """Print how much the prediction log holds; gives what is wrong with it."""
    wrong, rows = [], []
    files = sorted(log.rglob("*.parquet"))
    for path in files:
        try:
            rows += pyarrow.parquet.read_table(path, columns=["prediction_id"])["prediction_id"].to_pylist()
        except (OSError, ValueError) as error:  # pyarrow's errors are both
            wrong.append(f"{path.name} cannot be read: {error}")
    missing = len(ids - set(rows))
    print(f"prediction log: {len(files)} files, {len(rows)} rows, of {len(ids)} good answers {missing} are missing")
    wrong += [f"{missing} rows are missing"] if missing else []
    wrong += [f"{len(rows) - len(set(rows))} rows are there twice"] if len(rows) != len(set(rows)) else []
    return wrong


if __name__ == "__main__":
    sys.exit(main())

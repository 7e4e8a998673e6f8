"""Kills the prediction log's writer again and again: python -m benchmarks.log_kills --kills 1000 [--out DIR]

Each writer writes rows of a past day, merges that day all the time, and is killed (SIGKILL) after a random moment.
After each kill every file must be readable, no row may be there twice, none that was there before may be gone, and the
rows of each writer must have no gap: what is missing is only its end. Prints one JSON line; exit 1 if a rule is broken.
"""

import argparse
import importlib
import json
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hakka.monitor import PredictionLog, read_log, row
from hakka.monitor.rows import encode_rows

DAY = timedelta(days=1)
FEATURES = {"width": 1, "height": 1, "brightness": 1, "blur": 1}
KILLS_A_FOLDER = 50
LONGEST = 0.2  # seconds that a writer lives


def make_row(name: str) -> dict:
    """A row of yesterday."""
    nothing = {"boxes": [], "classes": [], "confidences": []}
    return row(version="v", features=FEATURES, prediction_id=name, time=datetime.now(UTC) - DAY, **nothing)


def write(folder: Path, writer: int) -> None:
    """Write rows until killed."""
    log = PredictionLog(folder, rows=20, seconds=0.02, upkeep=0.005)
    count = 0
    while True:
        log.append(make_row(f"{writer} {count}"))
        count += 1
        if count % 20 == 0:
            time.sleep(0.001)


def check(folder: Path, known: Path) -> None:
    """Check the folder against the ids that were there before, and note those that are there."""
    skipped: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: skipped.append(record.getMessage())
    logging.getLogger("hakka").addHandler(handler)
    found = [tuple(map(int, text.split())) for text in read_log(folder)["prediction_id"]]
    before = {tuple(pair) for pair in json.loads(known.read_text())} if known.exists() else set()
    longest: dict[int, int] = {}
    for writer, _ in found:
        longest[writer] = longest.get(writer, 0) + 1
    gaps = [pair for pair in found if pair[1] >= longest[pair[0]]]
    known.write_text(json.dumps(found))
    wrong = {"unreadable": skipped, "doubled": len(found) - len(set(found)), "lost": len(before - set(found))}
    if any(wrong.values()) or gaps:
        print(json.dumps({**wrong, "gaps": gaps[:5], "folder": str(folder)}), file=sys.stderr)
        os._exit(1)


def forked(work, *arguments) -> int:
    """Start a process of its own that has imported everything already."""
    process = os.fork()
    if not process:
        try:
            work(*arguments)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return process


def main() -> int:
    """Kill and check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    base = options.out or Path(tempfile.mkdtemp(prefix="log-kills-"))
    random.seed(0)
    encode_rows([make_row("0 0")])  # what is loaded late is loaded before the first fork
    importlib.import_module("pandas")
    rows = merged = broken = 0
    for number in range(options.kills):
        folder = base / f"{number // KILLS_A_FOLDER}"
        writer = forked(write, folder, number)
        time.sleep(random.uniform(0.0, LONGEST))
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
        known = base / f"{number // KILLS_A_FOLDER}.json"
        broken += os.waitpid(forked(check, folder, known), 0)[1] != 0
        if (number + 1) % KILLS_A_FOLDER == 0 or number + 1 == options.kills:
            rows += len(json.loads(known.read_text()))
            merged += len(list(folder.glob("*/whole-*")))
    print(json.dumps({"kills": options.kills, "broken": broken, "rows": rows, "merged_files": merged}))
    if options.out is None:
        shutil.rmtree(base)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

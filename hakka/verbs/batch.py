"""``hakka predict`` for many photos."""

import argparse
import sys
import time
import warnings
from collections.abc import Callable

from hakka.errors import InvalidInput
from hakka.verbs.shared import find_model, print_json

SHOW_SECONDS = 0.2  # between two states of the progress line


def run_batch(options: argparse.Namespace) -> int:
    """Write what is on the photos; exit 1 when some of them could not be read."""
    if options.out is None:
        raise InvalidInput("for many photos --out must name a file, such as found.parquet or found.json")
    if options.endpoint:
        raise InvalidInput("--endpoint is for one photo; many are looked at in this process, see --model")
    from hakka.batch import find_photos, predict_photos
    from hakka.batch.results import check_out
    from hakka.cores import usable_cores
    from hakka.detector.inference import Plan
    from hakka.detector.runtime import load_detector

    check_out(options.out, options.format)
    warnings.filterwarnings("ignore", module="PIL")  # what it says of a photo stands in the photo's row
    photos = find_photos(options.photos)
    cores = usable_cores()
    detector = load_detector(find_model(options.model), Plan(threads=cores, streams=cores))
    start = time.monotonic()
    try:
        done = predict_photos(
            detector, photos, options.out, kind=options.format, confidence=options.confidence, show=_progress()
        )
    except KeyboardInterrupt:
        print(f"{options.out}.parts holds what is done: the same command goes on from there", file=sys.stderr)
        raise
    seconds = time.monotonic() - start
    if options.json:
        facts = {**vars(done), "seconds": round(seconds, 3), "version": detector.info.version, "out": str(options.out)}
        print_json(facts)
    else:
        rate = (done.photos - done.kept) / max(seconds, 1e-3)
        earlier = f", {done.kept} of them earlier" if done.kept else ""
        failed = f"; {done.failed} could not be read, see error" if done.failed else ""
        print(
            f"{options.out}: {done.detections} found on {done.photos} photos{earlier} by version "
            f"{detector.info.version}, {rate:.1f} photos/s{failed}"
        )
    return 1 if done.failed else 0


def _progress() -> Callable[[int, int], None]:
    """One line on a terminal, kept current: photos done, photos a second, time left. Silent elsewhere."""
    start, shown = time.monotonic(), 0.0

    def show(done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if not sys.stderr.isatty() or (now - shown < SHOW_SECONDS and done < total):
            return
        shown = now
        rate = done / max(now - start, 1e-3)
        left = (total - done) / rate
        text = f"{done}/{total} photos  {rate:.1f} photos/s  {_duration(left)} left"
        print(f"\r{text:<60}", end="\n" if done == total else "", file=sys.stderr, flush=True)

    return show


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"

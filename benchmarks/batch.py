"""``hakka predict FOLDER`` beside the bare loop of benchmarks.bare, on the same photos and model, in turns.

python -m benchmarks.batch --model DIR --photos DIR [--rounds 3]. The model's own loading is in neither figure. On a
machine that others use too, compare the CPU milliseconds a photo.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.bare import bare_loop
from hakka.batch import find_photos, predict_photos
from hakka.cores import usable_cores
from hakka.detector.inference import Plan
from hakka.detector.runtime import load_detector


def main() -> None:
    """Print photos a second and CPU milliseconds a photo of both, by their medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    photos = find_photos([options.photos])
    detector = load_detector(options.model, Plan(threads=usable_cores(), streams=usable_cores()))
    detector.warm_up()
    contents = [photo.read() for photo in photos if not photo.name.startswith("faulty")]
    bare = bare_loop(options.model, contents)
    bare(0.5)
    figures: dict[str, list[tuple[float, float]]] = {"bare": [], "batch": []}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            start, cpu = time.perf_counter(), time.process_time()
            predict_photos(detector, photos, Path(folder) / "found.parquet")
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        figures["batch"].append((len(photos) / seconds, cpu * 1000 / len(photos)))
        figures["bare"].append(bare(seconds))
    for name, values in figures.items():
        rate, cpu = (statistics.median(column) for column in zip(*values, strict=True))
        print(f"{name:<6} {rate:7.1f} photos/s  {cpu:6.2f} CPU ms a photo")


if __name__ == "__main__":
    main()

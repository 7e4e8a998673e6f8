"""The figures of docs/scale.md: ``python benchmarks/scale.py [--prices VCPU_HOUR GB_MONTH GET_1000] [IMAGES …]``.

Measures on this machine what each step takes (scan: photos a second on one core; list, convert and validate: at IMAGES
images, from scans that are made up, since these steps open no photo) and works out what the scan takes at 3 GB, 300 GB
and 30 TB.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from hakka.data.scan import HASH_BITS, Scan, scan_images, write_scans  # noqa: E402
from hakka.data.shards import ABOUT, SCANS, convert_scanned, list_images, read_shards  # noqa: E402
from hakka.files import write_json  # noqa: E402
from hakka.quality.validate import validate  # noqa: E402

PHOTO = (1280, 960)
BOXES = 7  # an image
SIZES = {"3 GB": 3e9, "300 GB": 300e9, "30 TB": 30e12}
SHARDS = {"3 GB": 1, "300 GB": 64, "30 TB": 1000}
PRICES = (0.04, 0.023, 0.0004)  # $ a vCPU-hour, a GB-month, 1000 GETs


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What the data part of a run costs at scale.")
    parser.add_argument("images", type=int, nargs="*", default=[2000, 20000], metavar="IMAGES")
    parser.add_argument("--prices", type=float, nargs=3, default=PRICES, metavar=("VCPU_HOUR", "GB_MONTH", "GET_1000"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rate, photo = measure_scan(Path(folder, "photos"))
        print(f"scan  {rate:.0f} photos/s a core, {rate * photo / 1e6:.0f} MB/s, of {photo / 1000:.0f} kB")
        for count in options.images:
            place = str(Path(folder, str(count)))
            in_a_process("make", place, count)
            for step in ("measure_convert", "measure_validate"):
                print(f"{count} images  {in_a_process(step, place, count)}", flush=True)
    cpu, keep, get = options.prices
    print(f"\nprices: {cpu} $ a vCPU-hour, {keep} $ a GB-month, {get} $ per 1000 GETs")
    for name, size in SIZES.items():
        images, shards = size / photo, SHARDS[name]
        seconds = images / rate
        print(
            f"{name:>7}: {images:.3g} images, {shards} shards of {images / shards:.3g}; "
            f"scan {seconds / 3600:.3g} core h, {seconds / shards / 2 / 60:.3g} min on 2 cores a shard; "
            f"$ {seconds / 3600 * cpu:.3g} compute, {images / 1000 * get:.3g} GETs, "
            f"{size / 1e9 * keep:.4g} a month to keep"
        )
    return 0


def measure_scan(folder: Path, count: int = 200) -> tuple[float, float]:
    """Photos a second on one core, and bytes a photo, of camera-like JPEGs."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)).resize(
            PHOTO, Image.Resampling.BICUBIC
        )
        noisy = np.asarray(coarse, np.int16) + rng.integers(-12, 12, (PHOTO[1], PHOTO[0], 1))
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(folder / f"{number}.jpg", quality=85)
    names = [path.name for path in sorted(folder.iterdir())]
    size = sum((folder / name).stat().st_size for name in names) / count
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    times = []
    for _ in range(5):
        began = cpu_seconds()
        scan_images(folder, names)
        times.append(cpu_seconds() - began)
    os.sched_setaffinity(0, before)
    return count / sorted(times)[2], size


def cpu_seconds() -> float:
    """Seconds that this process and those it waited for have worked; other work on the machine does not count."""
    return sum(os.times()[:4])


def in_a_process(function: str, *arguments: object) -> str:
    """The last line that a function of this file prints, in a process of its own, so that its memory is its own."""
    code = f"import runpy; m = runpy.run_path({__file__!r}); m[{function!r}](*{arguments!r})"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip().rpartition("\n")[2]


def make(place: str, count: int) -> None:
    """Lay out what the measured steps read."""
    make_source(Path(place, "photos"), count)
    make_scans(Path(place, "shard"), count)


class Laps:
    """What each step took: CPU seconds, and the most memory that its process (or one that it started) has held."""

    def __init__(self) -> None:
        self.began = cpu_seconds()
        self.result: dict[str, float] = {}

    def end(self, name: str) -> None:
        """Note a step that ended now."""
        own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        self.result[f"{name}_s"] = round(cpu_seconds() - self.began, 2)
        self.result[f"{name}_MB"] = max(int(own.split()[1]), child) // 1024
        self.began = cpu_seconds()

    def print(self, **more: float) -> None:
        """Print it all as JSON."""
        print(json.dumps(self.result | more))


def measure_convert(place: str, count: int) -> None:
    """The steps from the annotations to the dataset, and the bytes an image of what is read and written."""
    folder, laps = Path(place), Laps()
    list_images(folder / "photos", "auto", 1, folder / "images")
    laps.end("list")
    read_shards([folder / "shard"])
    laps.end("read")
    convert_scanned(folder / "photos", folder / "dataset", "auto", [folder / "shard"])
    laps.end("convert")
    files = {
        "annotations": folder / "photos" / "annotations.json",
        "names": folder / "images",
        "scans": folder / "shard" / SCANS,
        "index": folder / "dataset" / "index.jsonl",
    }
    sizes = {f"{name}_B": round(path.stat().st_size / count) for name, path in files.items()}
    labels = sum(path.stat().st_size for path in (folder / "dataset" / "labels").rglob("*.txt"))
    laps.print(**sizes, labels_B=round(labels / count))


def measure_validate(place: str, _: int) -> None:
    """The checks of the dataset that ``measure_convert`` left."""
    folder, laps = Path(place), Laps()
    scans = read_shards([folder / "shard"])
    validate(folder / "dataset", folder / "photos", folder / "validation", scans=scans)
    laps.end("validate")
    laps.print()


def make_source(folder: Path, count: int) -> None:
    """Annotations of ``count`` images of four classes, and empty files in the images' place."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    images = [{"id": i, "file_name": f"images/{i:08}.jpg", "width": PHOTO[0], "height": PHOTO[1]} for i in range(count)]
    corners = rng.integers(0, 400, (count * BOXES, 2)).tolist()
    sides = rng.integers(20, 400, (count * BOXES, 2)).tolist()
    annotations = [
        {"id": i, "image_id": i // BOXES, "category_id": i % 4, "bbox": [*corner, *side]}
        for i, (corner, side) in enumerate(zip(corners, sides, strict=True))
    ]
    categories = [{"id": i, "name": name} for i, name in enumerate(("apple", "bread", "cheese", "dill"))]
    for image in images:
        (folder / image["file_name"]).touch()
    text = json.dumps({"images": images, "annotations": annotations, "categories": categories})
    (folder / "annotations.json").write_text(text)


def make_scans(folder: Path, count: int) -> None:
    """Scans of as many scenes as images / 3: every third image is another view of the one before."""
    rng = np.random.default_rng(1)
    looks = rng.integers(0, 256, (count, HASH_BITS // 8), dtype=np.uint8)
    looks[2::3] = looks[1::3][: len(looks[2::3])] ^ np.uint8(1)
    folder.mkdir(parents=True)
    scans = (
        Scan(
            image=f"images/{i:08}.jpg",
            length=300_000,
            sha256=f"{i:064x}"[::-1],
            format="jpeg",
            width=PHOTO[0],
            height=PHOTO[1],
            look=looks[i].tobytes(),
            deviation=50.0,
        )
        for i in range(count)
    )
    write_scans(folder / SCANS, scans)
    write_json(folder / ABOUT, {"shard": 1, "shards": 1, "images": count})


if __name__ == "__main__":
    sys.exit(main())

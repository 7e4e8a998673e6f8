"""The figures of conversion in docs/benchmarks.md: ``python benchmarks/data.py [--quick] [--folder DIR]``.

Compares outputs with ultralytics' ``convert_coco``, and times both in turns, beside the physical limit; then
memory and time at 2,000, 20,000 and 200,000 images, and the bytes that a conversion writes. DIR is where the labels are
written: by default a file system in memory, so that programs are compared and not what the disk does meanwhile.
"""

import argparse
import contextlib
import gc
import hashlib
import io
import json
import logging
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import orjson
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hakka.data import load_dataset, materialize  # noqa: E402
from hakka.data.collector import collector_paused  # noqa: E402
from hakka.data.convert import convert  # noqa: E402
from hakka.data.entries import make_stems  # noqa: E402
from hakka.data.files_out import write_files  # noqa: E402
from hakka.data.formats import read_annotations  # noqa: E402
from hakka.data.labels import label_texts  # noqa: E402
from hakka.data.place import place_boxes  # noqa: E402
from hakka.data.scan import Scan, read_scans, write_scans  # noqa: E402
from hakka.data.split import SplitParams  # noqa: E402

CLASSES = 80
BOXES_PER_IMAGE = 7.5
REPEATS = 5
MEMORY = Path("/dev/shm")
OFFLINE = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "DO_NOT_TRACK": "1"}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer images and repeats")
    parser.add_argument("--folder", type=Path, default=MEMORY if MEMORY.is_dir() else None)
    parser.add_argument("--one", nargs=3, metavar=("FOLDER", "IMAGES", "BITS"), help=argparse.SUPPRESS)
    parser.add_argument("--turns", nargs=3, metavar=("TOOL", "FOLDER", "IMAGES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return convert_one(Path(options.one[0]), int(options.one[1]), int(options.one[2]))
    if options.turns:
        return take_turns(options.turns[0], Path(options.turns[1]), int(options.turns[2]))
    with tempfile.TemporaryDirectory(dir=options.folder) as folder, tempfile.TemporaryDirectory() as disk:
        os.environ.update(OFFLINE, YOLO_CONFIG_DIR=str(Path(disk) / "ultralytics"))
        print(
            f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; labels are written under {options.folder or disk}"
        )
        compare(Path(folder), 2_000 if options.quick else 20_000, 3 if options.quick else REPEATS)
        scale(Path(folder), (2_000, 20_000) if options.quick else (2_000, 20_000, 200_000))
        written(Path(disk), 20 if options.quick else 80)
    return 0


def compare(folder: Path, images: int, repeats: int) -> None:
    """Hakka beside its peer and the limit on one COCO file."""
    write_scans(folder / "scans", make_source(folder / "coco", images).values())
    outs = {name: folder / f"out {name}" for name in TOOLS}
    times = measure(folder, images, repeats)
    print(f"\nCOCO JSON with {images:,} images and {int(images * BOXES_PER_IMAGE):,} boxes; outputs first:")
    expected = read_labels(outs["convert_coco"] / "labels")
    for name in ("same work", "convert"):
        print(f"  {name}: {check_labels(read_labels(outs[name] / 'labels'), expected)}")
    print(
        f"medians of {repeats} runs in turns, each tool in a process of its own that has run it once; the peer looks "
        "at no image, so what Hakka sees in them is given to it:"
    )
    rows = (
        ("convert_coco", "ultralytics convert_coco"),
        ("same work", "Hakka: the same work, every box checked"),
        ("convert", "Hakka: convert (also splits, index, digest, report)"),
        ("limit", "limit: orjson.loads, create the files"),
    )
    print(f"  {'':<54}{'wall s':>8}{'CPU s':>8}{'x peer':>8}{'x limit':>9}")
    for name, title in rows:
        (wall, cpu), (peer_wall, _), (limit_wall, _) = times[name], times["convert_coco"], times["limit"]
        print(f"  {title:<54}{wall:8.2f}{cpu:8.2f}{peer_wall / wall:8.1f}{wall / limit_wall:9.1f}")
    whole_command(folder, 200 if images < 20_000 else 2_000)
    for path in (folder / "coco", *outs.values()):
        shutil.rmtree(path)


def measure(folder: Path, images: int, repeats: int) -> dict[str, tuple[float, float]]:
    """Median wall and CPU seconds of each tool, in turns; what they wrote last is left."""
    command = [sys.executable, __file__, "--turns"]
    processes = {
        name: subprocess.Popen(
            [*command, name, str(folder), str(images)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in TOOLS
    }

    def ask(process: "subprocess.Popen[str]") -> tuple[float, float]:
        assert process.stdin is not None
        assert process.stdout is not None
        print("go", file=process.stdin, flush=True)
        wall, cpu = json.loads(process.stdout.readline())
        return wall, cpu

    turns = [{name: ask(process) for name, process in processes.items()} for _ in range(repeats + 1)]
    for process in processes.values():
        process.communicate()
    return {
        name: (
            statistics.median(turn[name][0] for turn in turns[1:]),
            statistics.median(turn[name][1] for turn in turns[1:]),
        )
        for name in processes
    }


def take_turns(name: str, folder: Path, images: int) -> int:
    """Run one tool for each line of standard input, and print what it took."""
    tool, source, out = TOOLS[name], folder / "coco", folder / f"out {name}"
    scans = read_scans(folder / "scans")
    for _ in sys.stdin:
        shutil.rmtree(out, ignore_errors=True)
        gc.collect()
        gc.freeze()  # what the libraries hold is no garbage of the tool
        wall, cpu = time.perf_counter(), time.process_time()
        tool(source, out, scans, images)
        print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]), flush=True)
    return 0


def peer(source: Path, out: Path) -> None:
    """The converter of ultralytics; it takes a folder with nothing but JSON."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        from ultralytics.data.converter import convert_coco

        logging.getLogger("ultralytics").setLevel(logging.CRITICAL)
        convert_coco(str(source / "annotations"), str(out), use_segments=False, cls91to80=False)


@collector_paused()
def same_work(source: Path, out: Path, scans: dict[str, Scan]) -> None:
    """What the peer does: label files from JSON; and what it does not: every box is checked and held to the frame.

    As in ``convert``, there is no search for garbage while they are written.
    """
    annotations = read_annotations(source, "coco")
    placed = place_boxes(annotations.images, scans)
    images = [image.image for image in annotations.images]
    stems = make_stems(images, (scans[image].sha256 for image in images))
    (out / "labels").mkdir(parents=True)
    names = (f"{stem}.txt" for stem in stems)
    write_files(out / "labels", zip(names, label_texts(placed.boxes, placed.starts), strict=True))


@collector_paused()
def limit(source: Path, out: Path, images: int) -> None:
    """Parse the JSON, with no search for garbage meanwhile, and create as many files."""
    orjson.loads((source / "annotations" / "instances.json").read_bytes())
    out.mkdir()
    content = b"0 0.50000000 0.50000000 0.25000000 0.25000000\n" * int(BOXES_PER_IMAGE)
    write_files(out, ((f"{i:012}.txt", content) for i in range(images)))


# What converts a source into a folder that is not there, given the source's scans and how many images it has.
TOOLS: dict[str, Callable[[Path, Path, dict[str, Scan], int], object]] = {
    "convert_coco": lambda source, out, scans, images: peer(source, out),
    "same work": lambda source, out, scans, images: same_work(source, out, scans),
    "convert": lambda source, out, scans, images: convert(
        source, out, scans=scans, params=SplitParams(near_duplicate_bits=0)
    ),
    "limit": lambda source, out, scans, images: limit(source, out, images),
}


def whole_command(folder: Path, images: int) -> None:
    """`hakka convert` as a person runs it, with a look at every image."""
    source = folder / "photos"
    make_source(source, images)
    rng = np.random.default_rng(0)
    for path in (source / "images").iterdir():
        pixels = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((640, 480), Image.Resampling.BICUBIC).save(path, quality=85)
    began = time.perf_counter()
    command = [sys.executable, "-m", "hakka", "convert", str(source), "--out", str(folder / "dataset"), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout.splitlines()[-1])
    seconds = time.perf_counter() - began
    print(
        f"the command `hakka convert`, which decodes each of {report['images']['converted']:,} JPEGs of 640 x 480: "
        f"{seconds:.1f} s, {images / seconds:.0f} images/s"
    )
    shutil.rmtree(source)
    shutil.rmtree(folder / "dataset")


def scale(folder: Path, sizes: tuple[int, ...]) -> None:
    """Time and memory of conversions of several sizes, each in a process of its own."""
    print("\nconvert with scans given, in a process of its own (scenes: with the search for near-identical photos)")
    print(f"  {'images':>9}{'CPU s':>9}{'ms/image':>10}{'peak MB':>9}{'scenes: wall s':>16}{'peak MB':>9}")
    for images in sizes:
        source = folder / f"{images}"
        write_scans(folder / f"{images}.scans", make_source(source, images).values())
        plain, scenes = (_run_one(folder, images, bits) for bits in (0, 84))
        row = (plain["cpu"], plain["cpu"] / images * 1000, plain["peak"], scenes["wall"], scenes["peak"])
        print(f"  {images:>9,}{row[0]:9.2f}{row[1]:10.3f}{row[2]:9.0f}{row[3]:16.1f}{row[4]:9.0f}")
        shutil.rmtree(source)


def _run_one(folder: Path, images: int, bits: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", str(folder), str(images), str(bits)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def convert_one(folder: Path, images: int, bits: int) -> int:
    """Convert one of the sources that ``scale`` made; prints what it took."""
    scans = read_scans(folder / f"{images}.scans")
    wall, cpu = time.perf_counter(), time.process_time()
    convert(folder / f"{images}", folder / "out", scans=scans, params=SplitParams(near_duplicate_bits=bits))
    used = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    shutil.rmtree(folder / "out")
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(json.dumps({**used, "peak": int(peak.split()[1]) / 1024}))
    return 0


def written(disk: Path, photos: int) -> None:
    """Bytes that converting and laying out photos adds to the file system that they are on."""
    source = disk / "source"
    make_source(source, photos, size=(4000, 3000))
    pixels = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    photo = io.BytesIO()
    Image.fromarray(pixels).resize((4000, 3000), Image.Resampling.BICUBIC).save(photo, "JPEG", quality=97)
    for i, path in enumerate(sorted((source / "images").iterdir())):
        comment = f"{i:04}".encode()
        path.write_bytes(photo.getvalue()[:2] + b"\xff\xfe\x00\x06" + comment + photo.getvalue()[2:])
    held = dict(_blocks(source))
    convert(source, disk / "dataset")
    materialize(load_dataset(disk / "dataset"), source, disk / "yolo")
    added = {inode: size for out in ("dataset", "yolo") for inode, size in _blocks(disk / out) if inode not in held}
    before, more = sum(held.values()), sum(added.values())
    print(
        f"\nbytes on the disk: {photos} photos and annotations {before / 1e6:.0f} MB; convert and materialize add "
        f"{more / 1e6:.2f} MB ({more / before:.2%}), links counted once"
    )


def _blocks(folder: Path) -> Iterator[tuple[int, int]]:
    """Inode and bytes on the disk of everything in a folder."""
    for path in (folder, *folder.rglob("*")):
        about = path.lstat()
        yield about.st_ino, about.st_blocks * 512


def make_source(folder: Path, images: int, size: tuple[int, int] = (640, 480)) -> dict[str, Scan]:
    """COCO around empty image files, the same for the same number; and what a look at the images would have seen."""
    rng = np.random.default_rng(images)
    width, height = size
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    names = [f"{i:012}.jpg" for i in range(images)]
    count = int(images * BOXES_PER_IMAGE)
    corners = np.concatenate([rng.random((count, 2)) * 0.6, 0.02 + rng.random((count, 2)) * 0.35], axis=1)
    corners = np.round(corners * [width, height, width, height], 2)
    rows = zip(
        np.sort(rng.integers(0, images, count)).tolist(),
        rng.integers(1, CLASSES + 1, count).tolist(),
        corners.tolist(),
        strict=True,
    )
    content = {
        "info": {"year": 2026},
        "images": [{"id": i + 1, "file_name": name, "width": width, "height": height} for i, name in enumerate(names)],
        "annotations": [
            {
                "id": k + 1,
                "image_id": i + 1,
                "category_id": label,
                "bbox": box,
                "area": round(box[2] * box[3], 3),
                "iscrowd": 0,
            }
            for k, (i, label, box) in enumerate(rows)
        ],
        "categories": [{"id": i, "name": f"class {i}"} for i in range(1, CLASSES + 1)],
    }
    (folder / "annotations" / "instances.json").write_text(json.dumps(content))
    looks = rng.integers(0, 256, (images, 32), dtype=np.uint8)
    scans = {}
    for i, name in enumerate(names):
        (folder / "images" / name).touch()
        digest = hashlib.sha256(name.encode()).hexdigest()
        about = {"length": 100_000 + i, "sha256": digest, "format": "jpeg", "width": width, "height": height}
        scans[f"images/{name}"] = Scan(f"images/{name}", **about, look=looks[i].tobytes(), deviation=50.0)
    return scans


def read_labels(folder: Path) -> dict[str, np.ndarray]:
    """Rows of every label file that is not empty, by stem, in an order that hangs on nothing but the values."""
    labels = {}
    for path in folder.rglob("*.txt"):
        if text := path.read_text():
            rows = np.array([line.split() for line in text.splitlines()], dtype=float)
            labels[path.stem] = rows[np.lexsort(np.round(rows, 5).T)]
    return labels


def check_labels(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> str:
    """How the labels compare; stops if they are not the same within 1e-6."""
    if found.keys() != expected.keys():
        raise SystemExit(f"other images have labels: {sorted(found.keys() ^ expected.keys())[:3]}")
    worst = max(float(np.abs(found[stem] - expected[stem]).max()) for stem in expected)
    if worst > 1e-6:
        raise SystemExit(f"labels differ by {worst:g}")
    return f"{len(found):,} label files with {sum(map(len, found.values())):,} boxes equal within {worst:.0e}"


if __name__ == "__main__":
    sys.exit(main())

"""The figures of data validation in docs/benchmarks.md: ``python benchmarks/validation.py [--peers PYTHON]``.

Draws photos of 1024 x 768 from the sample's (seeded, so that a run can be repeated), plants faults among them, and
lets Hakka and its peers look at the same files on the same cores, turn by turn. Verdicts are compared before times. The
peers run in a Python of their own that has cleanvision and simplejpeg: ``python3 -m venv peers; peers/bin/pip install
cleanvision==0.3.7 simplejpeg``. Without ``--peers`` they are left out. cleanvision ends at the first truncated file
with an exception, so it is not given those; it may be given fewer photos (``--slow-images``), the times then compare as
seconds an image.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hakka.data.convert import convert
from hakka.data.scan import scan_images
from hakka.quality.validate import validate

ROOT = Path(__file__).resolve().parents[1]
SIZE = (1024, 768)
PLANTED = 6  # of each fault
FAULTS = {
    "truncated": "images_decode",
    "tiny": "image_size",
    "strip": "image_size",
    "blank": "image_variance",
    "copy": "exact_duplicates",
}

PEER = """
import os, sys, time, json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
what, folder, cores = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
files = [folder / name for name in json.load(sys.stdin)]
def clocks():
    return time.perf_counter(), sum(os.times()[:4])
if what.startswith("cleanvision"):
    import logging, warnings; warnings.simplefilter("ignore"); logging.disable(logging.CRITICAL)
    from cleanvision import Imagelab
    lab = Imagelab(filepaths=[str(path) for path in files])
    subset = None if what.endswith("all") else {"odd_size": {}, "odd_aspect_ratio": {}, "low_information": {}}
    start = clocks()
    lab.find_issues(subset, n_jobs=cores, verbose=False)
    seconds = [after - before for after, before in zip(clocks(), start)]
    marks = [name for name in lab.issues if name.startswith("is_") and name.endswith("_issue")]
    found = {name: sorted(Path(path).name for path in lab.issues.index[lab.issues[name]]) for name in marks}
else:
    import simplejpeg
    small = dict(colorspace="GRAY", min_height=96, min_width=128, min_factor=1) if what.endswith("small") else {}
    def decode(path):
        try:
            return simplejpeg.decode_jpeg(path.read_bytes(), **small).shape
        except ValueError:
            return None
    start = clocks()
    with ThreadPoolExecutor(cores) as pool:
        shapes = list(pool.map(decode, files))
    seconds = [after - before for after, before in zip(clocks(), start)]
    found = {"not decoded": [path.name for path, shape in zip(files, shapes) if shape is None]}
print(json.dumps({"seconds": seconds, "found": found}))
"""


def main() -> int:
    """Draw, compare, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5, help="of what takes seconds")
    parser.add_argument("--slow-repeats", type=int, default=3, help="of cleanvision, which takes a minute and more")
    parser.add_argument("--slow-images", type=int, default=2000, help="photos that cleanvision is given at most")
    parser.add_argument("--peers", help="Python that has cleanvision and simplejpeg")
    parser.add_argument("--work", type=Path, help="folder for the photos, kept (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = options.work or Path(scratch)
        planted = prepare(work, options.images)
        measure(work, planted, options)
    return 0


def prepare(work: Path, count: int) -> dict[str, list[str]]:
    """Draw the photos, convert them, then spoil some; gives the names of the spoilt ones by fault."""
    photos = work / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    if len(list(photos.glob("*.jpg"))) == count:
        for path in (photos / name for names in choose(count).values() for name in names):
            path.unlink()
    draw_photos(photos, count)
    boxes = [{"image_id": i, "category_id": i % 5, "bbox": [100 + i % 300, 90, 300, 200]} for i in range(count)]
    images = [{"id": i, "file_name": f"{i:05}.jpg"} for i in range(count)]
    categories = [{"id": i, "name": f"dish {i}"} for i in range(5)]
    content = {"images": images, "annotations": boxes, "categories": categories}
    (photos / "annotations.json").write_text(json.dumps(content))
    convert(photos, work / "dataset")
    planted = choose(count)
    for fault, names in planted.items():
        for name in names:
            spoil(photos / name, fault)
    sizes = [path.stat().st_size for path in photos.glob("*.jpg")]
    print(f"{len(sizes)} photos of {SIZE[0]} x {SIZE[1]}, {statistics.median(sizes) / 1000:.0f} KB each (median)")
    return planted


def choose(count: int) -> dict[str, list[str]]:
    """The names of the photos that are spoilt, by fault."""
    chosen = iter(np.random.default_rng(1).choice(count, PLANTED * len(FAULTS), replace=False).tolist())
    return {fault: sorted(f"{next(chosen):05}.jpg" for _ in range(PLANTED)) for fault in FAULTS}


def draw_photos(folder: Path, count: int) -> None:
    """Four of the sample's photos in one, under noise of all frequencies, so that they compress like photos."""
    sources = sorted((ROOT / "sample" / "images").glob("scene_*.jpg"))
    textures = [texture(np.random.default_rng(i)) for i in range(6)]

    def draw(i: int) -> None:
        if (folder / f"{i:05}.jpg").exists():
            return
        rng = np.random.default_rng(1000 + i)
        canvas = Image.new("RGB", SIZE)
        for place, source in enumerate(rng.choice(len(sources), 4, replace=False)):
            with Image.open(sources[source]) as picture:
                part = picture.convert("RGB").resize((SIZE[0] // 2, SIZE[1] // 2), Image.Resampling.BICUBIC)
            canvas.paste(part, (place % 2 * SIZE[0] // 2, place // 2 * SIZE[1] // 2))
        noise = np.roll(textures[rng.integers(6)], rng.integers(0, 700, 2), (0, 1)) * rng.uniform(16, 30)
        values = np.clip(np.asarray(canvas, dtype=np.float32) + noise[:, :, None], 0, 255).astype(np.uint8)
        Image.fromarray(values).save(folder / f"{i:05}.jpg", quality=92)

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(draw, range(count)))


def texture(rng: np.random.Generator) -> np.ndarray:
    """(height, width) noise whose octaves get weaker as they get finer, of unit deviation."""
    total = np.zeros(SIZE[::-1], dtype=np.float32)
    for octave in range(8):
        coarse = rng.standard_normal((SIZE[1] >> octave, SIZE[0] >> octave)).astype(np.float32)
        total += np.asarray(Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC)) * 1.6**octave
    return total / total.std()


def neighbour(name: str) -> str:
    """The photo that a ``copy`` is a copy of."""
    number = int(name.partition(".")[0])
    return f"{number - 1 if number else 1:05}.jpg"


def spoil(path: Path, fault: str) -> None:
    """Give one photo a fault; its first pixels make each of them another file."""
    tone = int(path.stem) % 200 + 20
    if fault == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    elif fault == "copy":
        path.write_bytes(path.with_name(neighbour(path.name)).read_bytes())
    elif fault == "blank":
        Image.new("RGB", SIZE, (tone, tone, 90)).save(path)
    else:
        with Image.open(path) as photo:
            changed = photo.resize((40, 30) if fault == "tiny" else (1600, 200))
        changed.save(path)


Times = tuple[float, float]  # seconds on the wall and seconds of all cores


@dataclass(frozen=True)
class Contender:
    """Something that looks at photos: ``take`` gives its times for ``images`` of them."""

    name: str
    take: Callable[[], Times]
    images: int


def measure(work: Path, planted: dict[str, list[str]], options: argparse.Namespace) -> None:
    """Compare the verdicts, then take times turn by turn and print them."""
    compare_verdicts(work, planted)
    names = sorted(path.name for path in (work / "photos").glob("*.jpg"))
    photos, count = work / "photos", len(names)

    def take_turns(others: list[Contender], repeats: int) -> None:
        own = [
            Contender("hakka validate, the whole command", lambda: run_validate(work), count),
            Contender("hakka, the look alone", lambda: timed(lambda: scan_images(photos, names)), count),
        ]
        contenders = [*own, *others]
        print_table(contenders, list(zip(*([each.take() for each in contenders] for _ in range(repeats)), strict=True)))

    decoders = [Contender("Pillow, full decode", lambda: timed(lambda: decode_all(photos, names)), count)]
    if not options.peers:
        print("without --peers: cleanvision and turbojpeg are left out")
        take_turns(decoders, options.repeats)
        return
    turbojpeg, cleanvision = prepare_peers(names, planted, work, options)
    take_turns(decoders + turbojpeg, options.repeats)
    take_turns(cleanvision, options.slow_repeats)  # apart: after a minute of it, all others are slower for a while


def prepare_peers(
    names: list[str], planted: dict[str, list[str]], work: Path, options: argparse.Namespace
) -> tuple[list[Contender], list[Contender]]:
    """Compare the peers' verdicts and give the peers: turbojpeg, cleanvision."""
    needed = {name for fault in planted.values() for name in fault} | {neighbour(name) for name in planted["copy"]}
    others = [name for name in names if name not in needed]
    slow = sorted(needed | set(others[: max(options.slow_images - len(needed), 0)]))
    slow = [name for name in slow if name not in planted["truncated"]]
    compare_peers(options.peers, work, planted, names, slow)

    def peer(name: str, what: str, files: list[str]) -> Contender:
        return Contender(name, partial(peer_times, options.peers, what, work, files), len(files))

    subset = "cleanvision: size, aspect, information"
    whole = partial(timed, partial(run_peer, options.peers, "cleanvision-subset", work, slow))
    return (
        [
            peer("turbojpeg, full decode", "simplejpeg-full", names),
            peer("turbojpeg, grey at 1/8", "simplejpeg-small", names),
        ],
        [
            peer(subset, "cleanvision-subset", slow),
            Contender(f"{subset}, with its start", whole, len(slow)),
            peer("cleanvision: all its checks", "cleanvision-all", slow),
        ],
    )


def print_table(contenders: list[Contender], times: list[tuple[Times, ...]]) -> None:
    """Medians, and how many times as long an image takes as with Hakka; the load of others disturbs cores less."""
    walls, works = ([statistics.median(one[i] for one in taken) for taken in times] for i in (0, 1))
    print(
        f"\n{cores()} cores; load of the machine over the last minutes {[round(load, 1) for load in os.getloadavg()]}"
    )
    print(f"{'':<51}{'images':>7}{'runs':>5}{'wall s':>8}{'from - to':>15}{'images/s':>9}{'core ms':>9}", end="")
    print(f"{'x validate: wall':>18}{'core':>7}{'x look: wall':>14}{'core':>7}")
    for i, each in enumerate(contenders):
        spread = f"{min(times[i])[0]:.2f} - {max(times[i])[0]:.2f}"
        ratios = [
            values[i] / each.images / (values[base] / contenders[base].images)
            for base in (0, 1)
            for values in (walls, works)
        ]
        print(f"{each.name:<51}{each.images:>7}{len(times[i]):>5}{walls[i]:>8.2f}{spread:>15}", end="")
        print(f"{each.images / walls[i]:>9.0f}{1000 * works[i] / each.images:>9.2f}", end="")
        print("".join(f"{ratio:>{width}.2f}" for ratio, width in zip(ratios, (18, 7, 14, 7), strict=True)))


def compare_verdicts(work: Path, planted: dict[str, list[str]]) -> None:
    """Hakka must find exactly the planted faults."""
    report = validate(work / "dataset", None, work / "validation")
    found = {check["name"]: check["findings"] for check in report["checks"]}
    for check in sorted(set(FAULTS.values())):
        expected = {name for fault, names in planted.items() if FAULTS[fault] == check for name in names}
        images = {finding[key] for finding in found[check] for key in ("image", "other") if key in finding}
        got = images & {name for names in planted.values() for name in names} if check == "exact_duplicates" else images
        print(
            f"{check:<18}{len(expected)} planted, {len(got)} found: {'the same' if got == expected else 'NOT THE SAME'}"
        )
        if got != expected:
            raise SystemExit(f"{check}: missed {sorted(expected - got)}, too many {sorted(got - expected)}")
    spoilt = {name for names in planted.values() for name in names}
    if {finding["image"] for finding in found["images_unchanged"]} != spoilt:
        raise SystemExit("images_unchanged: not exactly the spoilt ones")


def run_validate(work: Path) -> Times:
    """Times of the whole command, from the start of Python to its end."""
    command = [sys.executable, "-m", "hakka", "validate", str(work / "dataset"), "--out", str(work / "validation")]
    return timed(lambda: subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False))


def compare_peers(python: str, work: Path, planted: dict[str, list[str]], names: list[str], slow: list[str]) -> None:
    """Print what the peers find of the same faults."""
    lost = run_peer(python, "simplejpeg-full", work, names)["found"]["not decoded"]
    print(f"turbojpeg: does not decode {len(lost)}: {'the same' if lost == planted['truncated'] else 'NOT THE SAME'}")
    found = run_peer(python, "cleanvision-all", work, slow)["found"]
    for fault, mark in (("tiny", "odd_size"), ("strip", "odd_aspect_ratio"), ("blank", "low_information")):
        marked = set(found[f"is_{mark}_issue"])
        print(
            f"cleanvision: {mark} marks {len(marked & set(planted[fault]))} of {PLANTED} {fault}, {len(marked)} in all"
        )
    copies = set(found["is_exact_duplicates_issue"]) & set(planted["copy"])
    print(f"cleanvision: exact_duplicates marks {len(copies)} of {PLANTED} copy")


def run_peer(python: str, what: str, work: Path, names: list[str]) -> dict[str, Any]:
    """The ``seconds`` that a peer takes, without its start and imports, and what it ``found``."""
    command = [python, "-c", PEER, what, str(work / "photos"), str(cores())]
    done = subprocess.run(command, input=json.dumps(names), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{what} broke: {done.stderr.strip().splitlines()[-1]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def peer_times(python: str, what: str, work: Path, names: list[str]) -> Times:
    """The times of ``run_peer``."""
    wall, work_of_cores = run_peer(python, what, work, names)["seconds"]
    return wall, work_of_cores


def decode_all(folder: Path, names: list[str]) -> None:
    """Pillow's plain decode of all pixels, on all cores."""

    def decode(name: str) -> None:
        try:
            with Image.open(folder / name) as image:
                image.load()
        except OSError:
            pass

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(decode, names))


def timed(call: Callable[[], object]) -> Times:
    """Times that a call takes, its threads and processes included."""
    wall, work = time.perf_counter(), sum(os.times()[:4])
    call()
    return time.perf_counter() - wall, sum(os.times()[:4]) - work


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    sys.exit(main())

"""Broken annotation files against every reader: nothing may crash, hang, or be counted wrong.

    python benchmarks/fuzz_readers.py --minutes 5 --seed 1

Valid files of every format are changed at random (bytes, words, lines, values of the JSON tree, tags of the XML) and
read; a part of them goes through the whole conversion. Allowed is a result whose counts add up, or one sentence
(``InvalidInput``). Anything else is printed and its file kept in ``--keep``. Exit 1 if there was any.
"""

import argparse
import json
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hakka.data.convert import convert
from hakka.data.formats import Annotations, read_annotations
from hakka.errors import HakkaError

SLOWEST = 5.0  # seconds that one input may take
CONVERTED = 0.03  # share of the inputs that go through the conversion

HOSTILE: list[Any] = [
    None, True, 0, -1, 1.5, -0.0, 1e300, 10**30, 2**63, float("nan"), float("inf"), "", " ", "0", "nan", "\ud800",
    "\0", "a.jpg", "b.jpg", "../a.jpg", "/etc/passwd", "C:\\a.jpg", "images/a.jpg", "x" * 5000, "é" * 60, [], {}, [[]],
    [None], [1, 2], [[1, 2], [3, 4], [5, 6]], [0.5] * 4, {"a": True}, {"x": 1, "y": 2}, [{}], {"0": {}}, [255] * 40,
]  # fmt: skip
WORDS = [
    b"NaN", b"1e400", b"-1", b"null", b"{}", b"[]", b'"', b",", b":", b"\\u0000", b"\\ud800", b"\xff", b"\0",
    b"\xef\xbb\xbf", b"[" * 2000, b'{"a":' * 2000, b"<a>" * 2000, b"</object>", b"<object>", b"<!DOCTYPE a>", b"&x;",
    b"&#0;", b"<![CDATA[", b"\r\n", b"\n0 0.5 0.5 0.5 0.5\n", b"9" * 5000, b" " * 100, b"- ", b"&a *a ",
    b"names:", b"0: b\n", b"<<: *a\n",
]  # fmt: skip


SIZE = {"width": 96, "height": 64}
CORNERS = [[9, 9], [40, 12], [30, 50], [8, 40]]
COCO = {
    "images": [{"id": i, "file_name": f"{name}.jpg", **SIZE} for i, name in enumerate("ab")],
    "annotations": [
        {"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 2, 30, 40], "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 2, "segmentation": [[1, 1, 50, 1, 50, 50]], "bbox": [1, 1, 49, 49]},
        {"id": 3, "image_id": 1, "category_id": 2, "segmentation": {"size": [64, 96], "counts": [64, 64, 6016]}},
    ],
    "categories": [{"id": 1, "name": "apple"}, {"id": 2, "name": "pear"}],
}
LABELME = {
    "version": "5.4.1",
    "shapes": [
        {"label": "apple", "shape_type": kind, "points": CORNERS[:count]}
        for kind, count in (("polygon", 4), ("rectangle", 2), ("circle", 2), ("mask", 2), ("point", 1))
    ],
    "imagePath": "images/a.jpg",
    "imageWidth": 96,
    "imageHeight": 64,
}
REGIONS = [
    {"shape_attributes": shape, "region_attributes": {"label": "apple", "ripe": {"yes": True}}}
    for shape in (
        {"name": "rect", "x": 1, "y": 2, "width": 30, "height": 20},
        {"name": "polygon", "all_points_x": [1, 50, 30], "all_points_y": [1, 2, 30]},
        {"name": "ellipse", "cx": 40, "cy": 30, "rx": 9, "ry": 5, "theta": 0.4},
        {"name": "circle", "cx": 40, "cy": 30, "r": 9},
    )
]
VIA = {"_via_img_metadata": {name: {"filename": f"{name}.jpg", "size": 9, "regions": REGIONS} for name in "ab"}}
VIA3 = {
    "project": {},
    "attribute": {"1": {"aname": "food", "type": 4, "options": {"0": "apple"}}},
    "file": {"1": {"fid": 1, "fname": "a.jpg", "type": 2, "src": "a.jpg"}},
    "view": {"1": {"fid_list": [1]}},
    "metadata": {
        str(i): {"vid": "1", "z": [], "xy": xy, "av": {"1": "0"}}
        for i, xy in enumerate([[2, 1, 2, 30, 20], [3, 40, 30, 9], [4, 40, 30, 9, 5], [7, 1, 1, 50, 2, 30, 30]])
    },
}
PERCENT = {"x": 10, "y": 10, "width": 50, "height": 40, "rotation": 20, "rectanglelabels": ["apple"]}
CLAIM = {"original_width": 96, "original_height": 64, "image_rotation": 0}
RESULTS = [
    {"id": "a", "type": "rectanglelabels", "value": PERCENT, **CLAIM},
    {"id": "b", "type": "polygonlabels", "value": {"points": CORNERS, "polygonlabels": ["pear"]}},
    {
        "id": "c",
        "type": "brushlabels",
        "value": {"rle": [0, 0, 96, 0, 57, 27, 255, 95, 255, 255], "brushlabels": ["a"]},
        **CLAIM,
    },
    {"id": "d", "type": "choices", "value": {"choices": ["fresh"]}},
]
TASKS = [
    {"id": 1, "data": {"image": "/data/upload/1/0a1b2c3d-a.jpg"}, "annotations": [{"result": RESULTS}] * 2},
    {"image": "/data/local-files/?d=images/b.jpg", "label": [{**PERCENT, **CLAIM}]},
]
BOX = "<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>40</xmax><ymax>50</ymax></bndbox>"
TURNED = "<robndbox><cx>40</cx><cy>30</cy><w>20</w><h>9</h><angle>0.4</angle></robndbox>"
OBJECTS = "".join(f"<object><name>apple</name><difficult>0</difficult>{sides}</object>" for sides in (BOX, TURNED, BOX))
VOC = (
    "<annotation><folder>images</folder><filename>a.jpg</filename><size><width>96</width><height>64</height></size>"
    f"{OBJECTS}</annotation>"
)
SEEDS: dict[str, dict[str, Any]] = {
    "coco": {"coco.json": COCO},
    "labelme": {"a.json": LABELME},
    "via": {"via.json": VIA, "via3.json": VIA3},
    "labelstudio": {"tasks.json": TASKS},
    "voc": {"a.xml": VOC, "ImageSets/Main/train.txt": "a\n"},
    "yolo": {
        "data.yaml": "path: .\ntrain: images\nval: lists/val.txt\nnames:\n  0: apple\n  1: pear\n",
        "lists/val.txt": "./images/b.jpg\n",
        "labels/a.txt": "0 0.5 0.5 0.2 0.3\n1 0.2 0.2 0.6 0.2 0.5 0.7\n",
    },
}


def write_seeds(source: Path) -> None:
    """Two photos and one valid set of annotations of each format."""
    for i, name in enumerate(("images/a.jpg", "images/b.jpg")):
        pixels = np.random.default_rng(i).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).resize((96, 64)).save(source / name)
    for files in SEEDS.values():
        for name, value in files.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_text(value if isinstance(value, str) else json.dumps(value))


def mutate(data: bytes, dice: random.Random) -> bytes:
    """``data`` with one to four random changes."""
    for _ in range(dice.randint(1, 4)):
        change = dice.choice((_flip, _insert, _cut, _repeat, _words, _tree, _tree, _tree, _encode))
        data = change(data, dice)
    return data


def _span(data: bytes, dice: random.Random) -> tuple[int, int]:
    start = dice.randint(0, len(data))
    return start, min(len(data), start + dice.choice((1, 2, 5, 20, 200)))


def _flip(data: bytes, dice: random.Random) -> bytes:
    start, _ = _span(data, dice)
    return data[:start] + bytes([dice.randint(0, 255)]) + data[start + 1 :]


def _insert(data: bytes, dice: random.Random) -> bytes:
    start, _ = _span(data, dice)
    return data[:start] + dice.choice(WORDS) + data[start:]


def _cut(data: bytes, dice: random.Random) -> bytes:
    start, end = _span(data, dice)
    return data[:start] if dice.random() < 0.2 else data[:start] + data[end:]


def _repeat(data: bytes, dice: random.Random) -> bytes:
    start, end = _span(data, dice)
    return data[:end] + data[start:end] * dice.choice((1, 2, 30)) + data[end:]


def _words(data: bytes, dice: random.Random) -> bytes:
    """Exchange two words, which keeps the syntax more often than not."""
    words = data.replace(b">", b" > ").replace(b"<", b" < ").split(b" ")
    i, j = dice.randrange(len(words)), dice.randrange(len(words))
    words[i], words[j] = words[j], words[i]
    return b" ".join(words)


def _encode(data: bytes, dice: random.Random) -> bytes:
    if dice.random() < 0.8:
        return data
    return data.decode("utf-8", "replace").encode(
        dice.choice(("utf-16", "utf-32", "utf-8-sig", "utf-16-be")), "replace"
    )


def _tree(data: bytes, dice: random.Random) -> bytes:
    """Put a hostile value, or one from elsewhere in the tree, at a random place of the JSON tree."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return _insert(data, dice)
    places = list(_places(value))
    if not places:
        return data
    parent, key = dice.choice(places)
    other_parent, other_key = dice.choice(places)
    action = dice.random()
    if action < 0.15 and isinstance(parent, dict):
        parent.pop(key, None)
    elif action < 0.3:
        parent[key] = json.loads(json.dumps(other_parent.get(other_key) if isinstance(other_parent, dict) else None))
    else:
        parent[key] = dice.choice(HOSTILE)
    return json.dumps(value, ensure_ascii=dice.random() < 0.5).encode("utf-8", "surrogatepass")


def _places(value: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    if depth < 12 and isinstance(value, dict | list):
        for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
            yield value, key
            yield from _places(item, depth + 1)


def check(annotations: Annotations) -> None:
    """Raises AssertionError if the account is wrong."""
    refused = [finding for finding in annotations.findings if finding.kind == "refused"]
    assert annotations.images_found == len(annotations.images) + sum(item.box is None for item in refused), "images"
    kept = sum(len(image.boxes) for image in annotations.images)
    assert annotations.boxes_found == kept + sum(item.boxes for item in refused), "boxes"
    for image in annotations.images:
        assert np.isfinite(image.boxes).all(), "not finite"
        assert (image.boxes[:, 3:] > image.boxes[:, 1:3]).all(), "no area"
        assert len(image.places) == len(image.boxes), "places"
    for finding in annotations.findings:
        assert "\n" not in finding.reason, "more than one line"
        assert len(finding.reason.encode()) < 20_000, "a very long sentence"


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in what takes longer."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"took more than {seconds} s")

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def run(source: Path, kind: str, dice: random.Random, out: Path) -> str:
    """What became of one input: read, refused, converted."""
    wanted = "auto" if dice.random() < 0.1 else kind
    try:
        with limit(SLOWEST):
            check(read_annotations(source, wanted))
            if dice.random() < CONVERTED:
                convert(source, out, format=wanted)
                return "converted"
            return "read"
    except HakkaError as error:
        if "\n" in str(error):
            raise AssertionError("more than one line") from error
        return "refused"


def fuzz(minutes: float, seed: int, keep: Path, kinds: list[str] | None) -> int:
    """Run until the time is over; gives how many inputs went wrong."""
    dice = random.Random(seed)
    counts: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    wrong, slowest, start = 0, (0.0, ""), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        write_seeds(source)
        whole = {name: (source / name).read_bytes() for names in SEEDS.values() for name in names}
        while time.monotonic() - start < 60 * minutes:
            kind = dice.choice(kinds or list(SEEDS))
            name = dice.choice(list(SEEDS[kind]))
            broken = mutate(whole[name], dice)
            (source / name).write_bytes(broken)
            begin = time.monotonic()
            try:
                outcomes[run(source, kind, dice, Path(folder) / "out")] += 1
            except Exception:
                wrong += 1
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{kind}-{wrong}-{Path(name).name}").write_bytes(broken)
                print(f"{kind}: {name}: {traceback.format_exc()}", file=sys.stderr)
            slowest = max(slowest, (time.monotonic() - begin, name))
            counts[kind] += 1
            (source / name).write_bytes(whole[name])
    seconds = time.monotonic() - start
    print(f"inputs   {sum(counts.values())} in {seconds:.0f} s: {dict(sorted(counts.items()))}")
    print(f"outcome  {dict(sorted(outcomes.items()))}, crashed, hung or miscounted: {wrong}")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"slowest  {slowest[0]:.2f} s ({slowest[1]}), peak memory {memory} MB")
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same inputs (default: 0)")
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="folder for what went wrong")
    parser.add_argument("--formats", nargs="*", help="only these formats")
    options = parser.parse_args()
    sys.exit(1 if fuzz(options.minutes, options.seed, options.keep, options.formats) else 0)

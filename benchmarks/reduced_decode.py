"""What decoding a large photo at less than its size costs and gains.

``python benchmarks/reduced_decode.py MODEL_DIR COCO_JSON IMAGES [--side N]``.

Real photos with boxes are enlarged to ``--side`` pixels and given sensor noise, as a stand-in for a camera's. Measured
are COCO's mAP and the time of decoding: in full, and reduced as the endpoint does it.
"""

import argparse
import contextlib
import io
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from hakka.detector.decode import decode_photo  # noqa: E402
from hakka.detector.runtime import load_detector  # noqa: E402


def enlarge(path: Path, side: int) -> bytes:
    """The photo as a noisy JPEG of ``side`` x ``side`` pixels."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)).astype(np.int16)
    noisy = pixels + np.random.default_rng(0).integers(-6, 7, pixels.shape, dtype=np.int16)
    buffer = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, metavar="MODEL_DIR")
    parser.add_argument("annotations", type=Path, metavar="COCO_JSON")
    parser.add_argument("images", type=Path, metavar="IMAGES")
    parser.add_argument("--side", type=int, default=3072)
    options = parser.parse_args()
    detector = load_detector(options.model)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(options.annotations))
    category = {entry["name"]: entry["id"] for entry in truth.dataset["categories"]}
    ways: dict[str, int | None] = {"in full": None, "reduced": detector.info.imgsz}
    found: dict[str, list[dict]] = {way: [] for way in ways}
    seconds = dict.fromkeys(ways, 0.0)
    for entry in truth.dataset["images"]:
        data = enlarge(options.images / Path(entry["file_name"]).name, options.side)
        for way, size in ways.items():
            start = time.perf_counter()
            photo = decode_photo(data, model_size=size)
            seconds[way] += time.perf_counter() - start
            seen = detector.detect(photo.pixels, confidence=0.001)
            boxes = photo.in_original(seen.boxes) * entry["width"] / options.side
            for (left, top, right, bottom), score, label in zip(
                boxes.tolist(), seen.scores.tolist(), seen.class_ids, strict=True
            ):
                box = [left, top, right - left, bottom - top]
                category_id = category[detector.names[label]]
                found[way].append({"image_id": entry["id"], "category_id": category_id, "bbox": box, "score": score})
    for way in ways:
        with contextlib.redirect_stdout(io.StringIO()):
            run = COCOeval(truth, truth.loadRes(found[way]), "bbox")
            run.evaluate()
            run.accumulate()
            run.summarize()
        each = seconds[way] * 1000 / len(truth.dataset["images"])
        print(f"{way:>8}: mAP {run.stats[0]:.4f}, mAP50 {run.stats[1]:.4f}, decoding {each:.0f} ms a photo")


if __name__ == "__main__":
    main()

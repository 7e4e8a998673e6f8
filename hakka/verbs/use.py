"""``hakka predict | recommend | monitor``."""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hakka.errors import InvalidInput
from hakka.params import read_section
from hakka.settings import read_settings
from hakka.verbs.shared import Verbs, add_json, add_verb, print_json

MAX_PHOTO_BYTES = 24 * 2**20  # as base64 it fits into the endpoint's largest body


def add_verbs(verbs: Verbs) -> None:
    """Add the verbs of those who use a model."""
    predict = add_verb(
        verbs,
        "predict",
        run_predict,
        "find the food on a photo, through the endpoint when it is up and in process otherwise",
        "hakka predict sample/images/scene_0007.jpg",
    )
    predict.add_argument("photo", type=Path, metavar="PHOTO", help="JPEG, PNG or WebP file")
    predict.add_argument("--out", type=Path, metavar="FILE", help="annotated picture (default: PHOTO-found.jpg here)")
    predict.add_argument(
        "--confidence", type=float, metavar="C", help="least confidence, 0 to 1 (default: the model's)"
    )
    predict.add_argument("--endpoint", metavar="URL", help="default: HAKKA_ENDPOINT, else this machine")
    add_json(predict)

    recommend = add_verb(
        verbs,
        "recommend",
        run_recommend,
        "rank recipes for what is at hand",
        "hakka recommend tomato onion garlic --diet vegan",
    )
    recommend.add_argument("ingredients", nargs="+", metavar="INGREDIENT", help="a name, or name=confidence")
    recommend.add_argument("--diet", metavar="D", help="such as vegan, halal, gluten_free")
    recommend.add_argument("--avoid", action="append", default=[], metavar="A", help="allergen, repeatable")
    recommend.add_argument("--cuisine", metavar="C", help="such as hakka, italian")
    recommend.add_argument("--limit", type=int, default=5, metavar="N", help="recipes to show (default: 5)")
    add_json(recommend)

    monitor = add_verb(
        verbs,
        "monitor",
        run_monitor,
        "compare the prediction log with the champion's reference",
        "hakka monitor --json",
    )
    monitor.add_argument("--log", type=Path, metavar="DIR", help="prediction log (default: that of HAKKA_HOME)")
    monitor.add_argument("--reference", type=Path, metavar="FILE", help="default: reference.parquet of the champion")
    monitor.add_argument("--out", type=Path, metavar="DIR", help="report folder (default: a new one in HAKKA_HOME)")
    add_json(monitor)


def run_predict(options: argparse.Namespace) -> int:
    """Detect and draw."""
    from io import BytesIO

    from PIL import Image, ImageOps

    from hakka.drawing import draw_detections

    if options.confidence is not None and not 0 <= options.confidence <= 1:
        raise InvalidInput(f"--confidence must be from 0 to 1, got {options.confidence:g}")
    photo = _read_photo(options.photo)
    found, where = _predict(photo, options)
    out = options.out or Path(f"{options.photo.stem}-found.jpg")
    with Image.open(BytesIO(photo)) as image:
        picture = draw_detections(
            ImageOps.exif_transpose(image),
            [item["box"] for item in found["detections"]],
            [item["name"] for item in found["detections"]],
            [item["confidence"] for item in found["detections"]],
        )
    _save_picture(picture, out)
    if options.json:
        print_json({**found, "by": where, "picture": str(out)})
        return 0
    for item in found["detections"]:
        box = " ".join(f"{value:.0f}" for value in item["box"])
        print(f"{item['name']:<16} {item['confidence']:.2f}  box {box}")
    count = len(found["detections"])
    print(f"{count} found by version {found['model_version']} ({where}); picture: {out}")
    return 0


def _read_photo(path: Path) -> bytes:
    if not path.exists():
        raise InvalidInput(f"{path}: no such photo")
    if not path.is_file():  # a pipe or a device would be read for ever
        raise InvalidInput(f"{path}: a photo must be a regular file")
    size = path.stat().st_size
    if size > MAX_PHOTO_BYTES:
        raise InvalidInput(f"{path}: a photo must have at most {MAX_PHOTO_BYTES} bytes, got {size}")
    return path.read_bytes()


def _save_picture(picture: Any, out: Path) -> None:
    from hakka.files import write_whole

    kinds = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
    if out.suffix.lower() not in kinds:
        raise InvalidInput(f"--out must end in {', '.join(kinds)}, got {str(out)!r}")
    if out.is_dir() or not out.parent.is_dir():
        raise InvalidInput(f"--out must be a file in a folder that exists, got {str(out)!r}")
    from io import BytesIO

    buffer = BytesIO()
    picture.save(buffer, kinds[out.suffix.lower()], quality=92)
    write_whole(out, buffer.getvalue())


def _predict(photo: bytes, options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """What was found, as the endpoint's v1 answer writes it, and by whom."""
    from hakka.deploy.local import served_version
    from hakka.endpoint import Endpoint

    endpoint = options.endpoint or read_settings().endpoint
    if options.endpoint or served_version(endpoint) is not None:
        return Endpoint(endpoint).answer(photo, options.confidence), endpoint
    from hakka.detector.runtime import decode_image, load_detector
    from hakka.registry import resolve

    detector = load_detector(resolve("champion", read_settings().registry))
    pixels = decode_image(photo)
    found = detector.detect(pixels, confidence=options.confidence)
    height, width = pixels.shape[:2]
    detections = [
        {"box": box, "class_id": label, "name": detector.names[label], "confidence": score}
        for box, label, score in zip(found.boxes.tolist(), found.class_ids.tolist(), found.scores.tolist(), strict=True)
    ]
    answer = {
        "model_version": detector.info.version,
        "image": {"width": width, "height": height},
        "detections": detections,
    }
    return answer, "in process"


def run_recommend(options: argparse.Namespace) -> int:
    """Rank recipes."""
    from hakka.recipes import load_corpus, recognise, recommend

    corpus = load_corpus()
    have = dict(_read_ingredient(text) for text in options.ingredients)
    ranked = recommend(
        have, corpus, diet=options.diet, avoid=options.avoid, cuisine=options.cuisine, limit=options.limit
    )
    unknown = recognise(have, corpus).unknown
    if options.json:
        rows = [
            {
                "id": item.recipe.id,
                "title": item.recipe.title,
                "cuisine": item.recipe.cuisine,
                "minutes": item.recipe.minutes,
                "score": item.score,
                "matched": item.matched,
                "missing": item.missing,
                "reasons": item.reasons,
            }
            for item in ranked
        ]
        print_json({"recipes": rows, "unknown": unknown})
        return 0
    for name in unknown:
        print(f"not known as an ingredient: {name}", file=sys.stderr)
    for place, item in enumerate(ranked, 1):
        print(f"{place}. {item.recipe.title} ({item.recipe.cuisine}, {item.recipe.minutes} min)")
        print(f"   at hand: {', '.join(item.matched)}; missing: {', '.join(item.missing) or 'nothing'}")
    if not ranked:
        print("no recipe fits")
    return 0


def _read_ingredient(text: str) -> tuple[str, float]:
    name, equals, confidence = text.partition("=")
    try:
        return name, float(confidence) if equals else 1.0
    except ValueError:
        raise InvalidInput(f"ingredient {text!r}: what follows = must be a confidence from 0 to 1") from None


def run_monitor(options: argparse.Namespace) -> int:
    """Watch; exit 1 when the photos or the answers have drifted."""
    from hakka.monitor.columns import DriftParams
    from hakka.monitor.drift import watch
    from hakka.registry import resolve

    settings = read_settings()
    reference = options.reference or resolve("champion", settings.registry) / "reference.parquet"
    log = options.log or settings.predictions
    out = options.out or settings.monitor / datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    answer = watch(reference, log, out, read_section(DriftParams, "monitor"))
    if options.json:
        print(json.dumps(answer, default=str))
    else:
        print(f"{answer['answer'].replace('_', ' ')}: {answer['reason']}")
        if answer["report"]:
            print(f"report  {answer['report']}")
    return 1 if answer["drifted"] else 0

"""``hakka predict | recommend | monitor``."""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hakka.errors import InvalidInput
from hakka.objects import read_place
from hakka.params import read_section
from hakka.settings import read_settings
from hakka.verbs.shared import Verbs, add_json, add_verb, find_model, print_json, print_line

MAX_PHOTO_BYTES = 24 * 2**20  # as base64 it fits into the endpoint's largest body


def add_verbs(verbs: Verbs) -> None:
    """Add the verbs of those who use a model."""
    predict = add_verb(
        verbs,
        "predict",
        run_predict,
        "find the food on a photo, or on many: a folder, a glob, s3://bucket/prefix",
        "hakka predict sample/images/scene_0007.jpg   (many: hakka predict sample/images --out found.parquet)",
    )
    predict.add_argument(
        "photos",
        nargs="+",
        metavar="PHOTO",
        help="JPEG, PNG or WebP file; or folders, globs, several files, URLs of an object store",
    )
    predict.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="annotated picture of one photo (default: PHOTO-found.jpg in the current folder); of many, or if it ends "
        "in .parquet or .json, a table or COCO JSON with a row a photo. Killed, the same command goes on where it was",
    )
    predict.add_argument("--format", choices=("parquet", "coco"), help="what --out is (default: by its name)")
    predict.add_argument(
        "--confidence", type=float, metavar="C", help="least confidence, 0 to 1 (default: the model's)"
    )
    predict.add_argument("--endpoint", metavar="URL", help="for one photo; default: HAKKA_ENDPOINT, else this machine")
    predict.add_argument(
        "--model",
        metavar="MODEL",
        help="version, channel or model folder to load here (default: for one photo the endpoint's if it is up, else "
        "the champion)",
    )
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
    monitor.add_argument(
        "--log",
        type=read_place,
        metavar="DIR|URL",
        help="prediction log, a folder or s3://bucket/prefix (default: that of HAKKA_HOME)",
    )
    monitor.add_argument("--reference", type=Path, metavar="FILE", help="default: reference.parquet of the champion")
    monitor.add_argument("--out", type=Path, metavar="DIR", help="report folder (default: a new one in HAKKA_HOME)")
    add_json(monitor)


def run_predict(options: argparse.Namespace) -> int:
    """Detect on one photo and draw, or on many and write a table."""
    if options.confidence is not None and not 0 <= options.confidence <= 1:
        raise InvalidInput(f"--confidence must be from 0 to 1, got {options.confidence:g}")
    if options.endpoint and options.model:
        raise InvalidInput("--endpoint has a model of its own: --model cannot be given with it")
    if _wants_table(options):
        from hakka.verbs.batch import run_batch

        return run_batch(options)
    return _run_single(options, Path(options.photos[0]))


def _wants_table(options: argparse.Namespace) -> bool:
    from hakka.batch.photos import is_batch
    from hakka.batch.results import FORMATS

    named = options.out is not None and options.out.suffix.lower() in FORMATS
    return named or options.format is not None or is_batch(options.photos)


def _run_single(options: argparse.Namespace, path: Path) -> int:
    from io import BytesIO

    from PIL import Image, ImageOps

    from hakka.drawing import draw_detections

    photo = _read_photo(path)
    found, where = _predict(photo, options)
    out = options.out or Path(f"{path.stem}-found.jpg")
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
        print_line(f"{item['name']:<16} {item['confidence']:.2f}  box {box}")
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
    if options.endpoint or (options.model is None and served_version(endpoint) is not None):
        return Endpoint(endpoint).answer(photo, options.confidence), endpoint
    from hakka.detector.decode import decode_photo
    from hakka.detector.runtime import load_detector

    detector = load_detector(find_model(options.model))
    seen = decode_photo(photo, model_size=detector.info.imgsz)
    found = detector.detect(seen.pixels, confidence=options.confidence)
    boxes = seen.in_original(found.boxes).tolist()
    detections = [
        {"box": box, "class_id": label, "name": detector.names[label], "confidence": score}
        for box, label, score in zip(boxes, found.class_ids.tolist(), found.scores.tolist(), strict=True)
    ]
    answer = {
        "model_version": detector.info.version,
        "image": {"width": seen.width, "height": seen.height},
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


def _find_reference(registry: str | Path) -> Path:
    """The reference of the champion, which is what was registered to the byte."""
    from hakka.detector.modelfile import REFERENCE, read_model_info
    from hakka.registry import resolve

    folder = resolve("champion", registry)
    read_model_info(folder)
    return folder / REFERENCE


def run_monitor(options: argparse.Namespace) -> int:
    """Watch; exit 1 when the photos or the answers have drifted."""
    from hakka.monitor.columns import DriftParams
    from hakka.monitor.drift import watch

    settings = read_settings()
    reference = options.reference or _find_reference(settings.registry)
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

"""Evaluation of an exported model on a test set: what is served is what is measured."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hakka import registry
from hakka.boxes import Array, cxcywh_to_xyxy
from hakka.cores import usable_cores
from hakka.data.dataset import Dataset, ImageEntry, load_dataset
from hakka.detector.curves import best_thresholds, calibration, confusion, precision_curves
from hakka.detector.decode import Photo, decode_photo
from hakka.detector.engine import openvino_core
from hakka.detector.evaluation_page import Mistake, render_evaluation
from hakka.detector.inference import Plan
from hakka.detector.metrics import (
    ImageMatches,
    Matches,
    average_precision,
    collect_matches,
    match_image,
    mean_ap,
    precision_recall,
)
from hakka.detector.runtime import Detections, Detector, brightness_and_blur, load_detector
from hakka.detector.slices import Slice, find_slices, measure_slices
from hakka.errors import InvalidInput
from hakka.files import read_json, write_json, write_whole
from hakka.texts import short

LEAST_CONFIDENCE = 0.001  # average precision needs the unsure detections too
CALIBRATED_FROM = 0.05  # below lies the noise that average precision asks for and nobody is shown
GALLERY = 12
TIMED = 32  # images that are looked at one at a time, to measure the speed; the others share the cores
Kept = TypeVar("Kept")  # what is kept of an image
ARRAYS = ("image", "label", "score", "hit", "truth", "size", "truth_size")


@dataclass(frozen=True)
class Evaluation:
    """A model's matches on a test set. ``images`` are the digests of the test images, in order."""

    version: str
    images: tuple[str, ...]
    matches: Matches
    map50: float
    map50_95: float
    slices: dict[str, Slice] = field(default_factory=dict)


def evaluate(
    model: Path, dataset: Path, root: Path, out: Path, variant: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Measure a model folder on the test split.

    ``out`` gets ``metrics.json``, ``speed.json``, ``curves.json``, ``slices.json``, ``matches.npz`` and
    ``report.html``. Returns the metrics: ``map50``, ``map50_95``, ``images``, ``boxes``; ``per_class`` with ``ap50``,
    ``ap``, ``precision``, ``recall`` and ``f1`` (at the model's own confidence), ``best_confidence`` and ``best_f1``,
    and ``instances``; ``slices``, ``calibration`` and ``confusion`` (rows true, columns detected, last "nothing"); and
    ``speed``: milliseconds a photo, and where. A class without test boxes has None. ``variant``, the settings that the
    model was made with, is kept as ``variant.json``.

    Raises:
        InvalidInput: the test split is empty, or the dataset cannot be read.
        NotFound: there is no model, or an image is missing.
        Tampered: a model file does not have its digest.
    """
    data = load_dataset(dataset)
    entries = data.split("test")
    if not entries:
        raise InvalidInput(f"{dataset}: evaluation needs at least one image in split 'test', got 0")
    cores = usable_cores()
    detector = load_detector(model, Plan(threads=cores, streams=cores if len(entries) > TIMED else 1))
    detector.warm_up()
    places = _class_places(detector, data)
    looks = _look_at_each(detector, entries, root, lambda seen: _look(detector, data, places, seen))
    matches = collect_matches([look.matches for look in looks], len(data.names))
    slices = find_slices(data, entries, [look.features for look in looks], root)
    metrics = _summarise(detector, data, matches)
    metrics["slices"] = measure_slices(matches, slices)
    metrics["confusion"] = np.sum([look.confusion for look in looks], axis=0).tolist()
    speed = _speed([look.seconds for look in looks[:TIMED]]) | {"where": _where(detector)}
    curves = {name: _numbers(row) for name, row in zip(data.names, precision_curves(matches), strict=True)}
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "metrics.json", metrics)
    write_json(out / "speed.json", speed)
    write_json(out / "curves.json", curves)
    if variant is not None:
        write_json(out / "variant.json", variant)
    write_json(out / "slices.json", {name: asdict(part) for name, part in slices.items()})
    _write_matches(out / "matches.npz", matches, entries)
    worst = sorted((look.mistake for look in looks if look.mistake.count), key=lambda mistake: -mistake.count)[:GALLERY]
    write_whole(out / "report.html", render_evaluation(metrics, speed, curves, worst, data, root))
    return metrics | {"speed": speed}


def measure_map50(detector: Detector, data: Dataset, split: str, root: Path) -> float:
    """The detector's mAP50 on one split; 0 where the split is empty. Raises as :func:`evaluate` does."""
    entries = data.split(split)
    places = _class_places(detector, data)
    found = _look_at_each(detector, entries, root, lambda seen: _match(data, places, seen))
    return mean_ap(average_precision(collect_matches(found, len(data.names)), levels=1))[0] if found else 0.0


def evaluate_champion(registry_folder: str | Path, dataset: Path, root: Path, out: Path) -> dict[str, Any]:
    """Measure today's champion as :func:`evaluate` does; without one, write and return ``{"champion": None}``.

    Its classes are taken by name: what the dataset does not name is dropped, what the champion does not know is missed.
    """
    version = registry.champion(registry_folder)
    if version is None:
        out.mkdir(parents=True, exist_ok=True)
        none: dict[str, Any] = {"champion": None}
        write_json(out / "metrics.json", none)
        return none
    return evaluate(registry.version_folder(registry_folder, version), dataset, root, out)


def read_evaluation(folder: Path) -> Evaluation | None:
    """What :func:`evaluate` wrote; None where it says that there is no champion.

    Raises:
        InvalidInput: the folder holds no evaluation, or one whose mAP is no number.
    """
    metrics = read_json(folder / "metrics.json")
    if metrics.get("version") is None:
        return None
    for name in ("map50", "map50_95"):
        if not isinstance(value := metrics.get(name), int | float) or isinstance(value, bool):
            raise InvalidInput(f"{folder / 'metrics.json'}: {name} must be a number, got {short(value)}")
    try:
        with np.load(folder / "matches.npz", allow_pickle=False) as arrays:
            matches = Matches(*(arrays[name] for name in ARRAYS))
            images = tuple(arrays["images"].tolist())
    except (OSError, KeyError, ValueError) as error:
        raise InvalidInput(f"{folder / 'matches.npz'}: not an evaluation's matches: {error}") from None
    slices = {name: Slice(**part) for name, part in read_json(folder / "slices.json").items()}
    return Evaluation(metrics["version"], images, matches, metrics["map50"], metrics["map50_95"], slices)


@dataclass(frozen=True)
class Seen:
    """One image, its pixels, what the detector finds on it (in pixels of the original), and the seconds that took."""

    entry: ImageEntry
    photo: Photo
    found: Detections
    seconds: float


def detect_entries(
    detector: Detector, entries: Sequence[ImageEntry], root: Path, confidence: float | None
) -> Iterator[Seen]:
    """Look at each image as the endpoint does; reading and decoding the file are not part of the seconds."""
    for entry in entries:
        yield _detect_entry(detector, entry, root, confidence, alone=True)


def _detect_entry(detector: Detector, entry: ImageEntry, root: Path, confidence: float | None, *, alone: bool) -> Seen:
    photo = decode_photo((root / entry.image).read_bytes(), model_size=detector.info.imgsz)
    start = time.perf_counter()
    found = detector.detect(photo.pixels, confidence=confidence, alone=alone)
    seconds = time.perf_counter() - start
    return Seen(entry, photo, replace(found, boxes=photo.in_original(found.boxes)), seconds)


def _look_at_each(
    detector: Detector, entries: Sequence[ImageEntry], root: Path, look: Callable[[Seen], Kept]
) -> list[Kept]:
    """What ``look`` makes of each image with what is found on it; only the first ``TIMED`` have the machine alone."""

    def look_at(entry: ImageEntry) -> Kept:
        return look(_detect_entry(detector, entry, root, LEAST_CONFIDENCE, alone=False))

    with _one_opencv_thread():
        timed = [look(seen) for seen in detect_entries(detector, entries[:TIMED], root, LEAST_CONFIDENCE)]
        # One thread more than cores: while a stream of the engine works, its caller waits.
        with ThreadPoolExecutor(usable_cores() + 1) as pool:
            return timed + list(pool.map(look_at, entries[TIMED:]))


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """As at the endpoint: OpenCV's threads cost more than they give for small pictures, and take the engine's cores."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


@dataclass(frozen=True)
class _Look:
    """What is kept of one test image."""

    matches: ImageMatches
    confusion: Array
    features: dict[str, float]
    mistake: Mistake
    seconds: float


def _look(detector: Detector, data: Dataset, places: Array, seen: Seen) -> _Look:
    found, labels, true_boxes, true_labels = _both(data, places, seen)
    sure = found.scores >= detector.info.confidence
    shape = (seen.entry.width, seen.entry.height)
    matches = match_image(found.boxes, found.scores, labels, true_boxes, true_labels, shape)
    right = int(matches.hits[matches.scores >= detector.info.confidence, 0].sum())
    shown = Detections(found.boxes[sure], found.scores[sure], labels[sure])
    return _Look(
        matches=matches,
        confusion=confusion(found.boxes[sure], labels[sure], true_boxes, true_labels, len(data.names)),
        features=brightness_and_blur(seen.photo.pixels),
        mistake=Mistake(seen.entry, len(true_labels) - right, int(sure.sum()) - right, shown),
        seconds=seen.seconds,
    )


def _match(data: Dataset, places: Array, seen: Seen) -> ImageMatches:
    found, labels, true_boxes, true_labels = _both(data, places, seen)
    shape = (seen.entry.width, seen.entry.height)
    return match_image(found.boxes, found.scores, labels, true_boxes, true_labels, shape)


def _class_places(detector: Detector, data: Dataset) -> Array:
    """The dataset's index of each of the detector's classes, -1 for those that it does not name."""
    index = {name: i for i, name in enumerate(data.names)}
    return np.array([index.get(name, -1) for name in detector.names])


def _both(data: Dataset, places: Array, seen: Seen) -> tuple[Detections, Array, Array, Array]:
    """What was found of the dataset's classes, with their labels there, and the true boxes (xyxy) and labels."""
    found = seen.found
    labels = places[found.class_ids] if len(found) else np.zeros(0, int)
    known = labels >= 0
    true = data.labels(seen.entry)
    boxes = cxcywh_to_xyxy(true[:, 1:], seen.entry.width, seen.entry.height)
    kept = Detections(found.boxes[known], found.scores[known], found.class_ids[known])
    return kept, labels[known], boxes, true[:, 0].astype(int)


def _summarise(detector: Detector, data: Dataset, matches: Matches) -> dict[str, Any]:
    ap = average_precision(matches)
    map50, map50_95 = mean_ap(ap)
    precision, recall = precision_recall(matches, detector.info.confidence)
    best, best_f1 = best_thresholds(matches)
    instances = matches.truth.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = np.where(precision + recall > 0, 2 * precision * recall / (precision + recall), 0.0)
    columns = {
        "ap50": ap[:, 0],
        "ap": ap.mean(axis=1),
        "precision": precision,
        "recall": recall,
        "f1": np.where(instances > 0, f1, np.nan),
        "best_confidence": best,
        "best_f1": best_f1,
    }
    rows = {name: _numbers(values) for name, values in columns.items()}
    return {
        "version": detector.info.version,
        "dataset": data.digest,
        "confidence": detector.info.confidence,
        "images": len(matches.truth),
        "boxes": int(instances.sum()),
        "map50": round(map50, 6),
        "map50_95": round(map50_95, 6),
        "per_class": {
            name: {column: values[i] for column, values in rows.items()} | {"instances": int(instances[i])}
            for i, name in enumerate(data.names)
        },
        "calibration": calibration(matches, CALIBRATED_FROM),
    }


def _numbers(values: Array) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 6) for value in values]


def _speed(seconds: Sequence[float]) -> dict[str, Any]:
    """Milliseconds a photo, from pixels to boxes, one photo at a time."""
    median, high = np.percentile(np.array(seconds) * 1000, [50, 95])
    return {"ms": round(float(median), 3), "ms_p95": round(float(high), 3)}


def _where(detector: Detector) -> str:
    """What the speed is that of: engine, device, cores."""
    run = detector.inference
    by_openvino = run.engine.startswith("openvino") and run.device == "CPU"
    device = openvino_core().get_property("CPU", "FULL_DEVICE_NAME") if by_openvino else run.device
    return f"{run.engine} on {device}, {usable_cores()} cores"


def _write_matches(path: Path, matches: Matches, entries: Sequence[ImageEntry]) -> None:
    buffer = BytesIO()
    arrays = {name: getattr(matches, name) for name in ARRAYS}
    np.savez_compressed(buffer, **arrays, images=np.array([entry.sha256 for entry in entries]))
    write_whole(path, buffer.getvalue())

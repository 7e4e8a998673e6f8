"""Evaluation of an exported model on a test set: what is served is what is measured."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from hakka import registry
from hakka.boxes import Array, cxcywh_to_xyxy
from hakka.data.dataset import Dataset, ImageEntry, load_dataset
from hakka.data.page import heading, page, paragraph, table
from hakka.detector.metrics import Matches, average_precision, collect_matches, match_image, mean_ap, precision_recall
from hakka.detector.runtime import Detections, Detector, decode_image, load_detector
from hakka.errors import InvalidInput
from hakka.files import read_json, write_json, write_whole

LEAST_CONFIDENCE = 0.001  # average precision needs the unsure detections too
GALLERY = 6


@dataclass(frozen=True)
class Evaluation:
    """A model's matches on a test set. ``images`` are the digests of the test images, in order."""

    version: str
    images: tuple[str, ...]
    matches: Matches
    map50: float
    map50_95: float


def evaluate(model: Path, dataset: Path, root: Path, out: Path) -> dict[str, Any]:
    """Measure a model folder on the test split; ``out`` gets ``metrics.json``, ``matches.npz`` and ``report.html``.

    Returns the metrics: ``map50``, ``map50_95``, ``images``, ``boxes`` and ``per_class`` with ``ap50``, ``ap``,
    ``precision`` and ``recall`` (at the model's own confidence) and ``instances``; a class without test boxes has None.

    Raises:
        InvalidInput: the test split is empty, or the dataset cannot be read.
        NotFound: there is no model, or an image is missing.
        Tampered: a model file does not have its digest.
    """
    detector, data = load_detector(model), load_dataset(dataset)
    entries = data.split("test")
    if not entries:
        raise InvalidInput(f"{dataset}: evaluation needs at least one image in split 'test', got 0")
    matches, worst = _run(detector, data, entries, root)
    metrics = _summarise(detector, data, matches)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "metrics.json", metrics)
    _write_matches(out / "matches.npz", matches, entries)
    write_whole(out / "report.html", _report(metrics, worst))
    return metrics


def measure_map50(detector: Detector, data: Dataset, split: str, root: Path) -> float:
    """The detector's mAP50 on one split; 0 where the split is empty. Raises as :func:`evaluate` does."""
    entries = data.split(split)
    return mean_ap(average_precision(_run(detector, data, entries, root)[0]))[0] if entries else 0.0


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
        InvalidInput: the folder holds no evaluation.
    """
    metrics = read_json(folder / "metrics.json")
    if metrics.get("version") is None:
        return None
    try:
        with np.load(folder / "matches.npz", allow_pickle=False) as arrays:
            matches = Matches(*(arrays[name] for name in ("image", "label", "score", "hit", "truth")))
            images = tuple(arrays["images"].tolist())
    except (OSError, KeyError, ValueError) as error:
        raise InvalidInput(f"{folder / 'matches.npz'}: not an evaluation's matches: {error}") from None
    return Evaluation(metrics["version"], images, matches, metrics["map50"], metrics["map50_95"])


def detect_entries(
    detector: Detector, entries: tuple[ImageEntry, ...], root: Path, confidence: float | None
) -> Iterator[tuple[ImageEntry, Array, Detections]]:
    """Each image with its pixels and what the detector finds on it."""
    for entry in entries:
        pixels = decode_image((root / entry.image).read_bytes())
        yield entry, pixels, detector.detect(pixels, confidence=confidence)


@dataclass(frozen=True)
class _Mistake:
    """One test image for the gallery, with how many boxes were missed and invented at the model's confidence."""

    entry: ImageEntry
    missed: int
    invented: int
    pixels: Array
    found: Detections
    names: tuple[str, ...]


def _run(
    detector: Detector, data: Dataset, entries: tuple[ImageEntry, ...], root: Path
) -> tuple[Matches, list[_Mistake]]:
    to_dataset = np.array([data.names.index(name) if name in data.names else -1 for name in detector.names])
    per_image, truths, mistakes = [], [], []
    for entry, pixels, found in detect_entries(detector, entries, root, LEAST_CONFIDENCE):
        labels = to_dataset[found.class_ids] if len(found) else np.zeros(0, int)
        known = labels >= 0
        true = data.labels(entry)
        true_boxes, true_labels = cxcywh_to_xyxy(true[:, 1:], entry.width, entry.height), true[:, 0].astype(int)
        match = match_image(found.boxes[known], found.scores[known], labels[known], true_boxes, true_labels)
        per_image.append(match)
        truths.append(true_labels)
        sure = match[0] >= detector.info.confidence
        right = int(match[2][sure, 0].sum())
        if len(true_labels) > right or sure.sum() > right:
            mistakes.append(
                _Mistake(entry, len(true_labels) - right, int(sure.sum()) - right, pixels, found, detector.names)
            )
            mistakes.sort(key=lambda mistake: -(mistake.missed + mistake.invented))
            del mistakes[GALLERY:]
    return collect_matches(per_image, truths, len(data.names)), mistakes


def _summarise(detector: Detector, data: Dataset, matches: Matches) -> dict[str, Any]:
    ap = average_precision(matches)
    map50, map50_95 = mean_ap(ap)
    precision, recall = precision_recall(matches, detector.info.confidence)
    instances = matches.truth.sum(axis=0)

    def number(value: float) -> float | None:
        return None if np.isnan(value) else round(float(value), 6)

    per_class = {
        name: {
            "ap50": number(ap[i, 0]),
            "ap": number(ap[i].mean()),
            "precision": number(precision[i]),
            "recall": number(recall[i]),
            "instances": int(instances[i]),
        }
        for i, name in enumerate(data.names)
    }
    return {
        "version": detector.info.version,
        "dataset": data.digest,
        "confidence": detector.info.confidence,
        "images": len(matches.truth),
        "boxes": int(instances.sum()),
        "map50": round(map50, 6),
        "map50_95": round(map50_95, 6),
        "per_class": per_class,
    }


def _write_matches(path: Path, matches: Matches, entries: tuple[ImageEntry, ...]) -> None:
    buffer = BytesIO()
    np.savez_compressed(
        buffer,
        image=matches.image,
        label=matches.label,
        score=matches.score,
        hit=matches.hit,
        truth=matches.truth,
        images=np.array([entry.sha256 for entry in entries]),
    )
    write_whole(path, buffer.getvalue())


def _report(metrics: dict[str, Any], worst: list[_Mistake]) -> str:
    def show(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    rows = [
        (name, row["instances"], show(row["ap50"]), show(row["ap"]), show(row["precision"]), show(row["recall"]))
        for name, row in sorted(metrics["per_class"].items(), key=lambda item: item[1]["ap50"] or 0)
    ]
    body = [
        paragraph(
            f"Version {metrics['version']} on {metrics['images']} test images with {metrics['boxes']} boxes: "
            f"mAP50 {metrics['map50']:.3f}, mAP50-95 {metrics['map50_95']:.3f}."
        ),
        heading("By class, weakest first"),
        paragraph(f"Precision and recall are those of detections with confidence {metrics['confidence']} or more."),
        table(("class", "boxes", "AP50", "AP50-95", "precision", "recall"), rows),
        heading("Worst mistakes"),
        *[part for mistake in worst for part in _figure(mistake, metrics["confidence"])],
    ]
    return page("Evaluation", body if worst else [*body, paragraph("None.", "ok")])


def _figure(mistake: _Mistake, confidence: float) -> list[str]:
    from PIL import Image

    from hakka.drawing import draw_detections

    sure = mistake.found.scores >= confidence
    names = [mistake.names[i] for i in mistake.found.class_ids[sure]]
    picture = draw_detections(
        Image.fromarray(mistake.pixels),
        mistake.found.boxes[sure].tolist(),
        names,
        mistake.found.scores[sure].tolist(),
    )
    picture.thumbnail((480, 480))
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    text = base64.b64encode(buffer.getvalue()).decode()
    caption = f"{mistake.entry.image}: {mistake.missed} missed, {mistake.invented} invented"
    return [paragraph(caption), f'<img alt="" src="data:image/jpeg;base64,{text}">']

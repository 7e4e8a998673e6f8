"""Our average precision against pycocotools on the same predictions."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest

from hakka.detector.metrics import (
    MAX_DETECTIONS,
    average_precision,
    collect_matches,
    match_image,
    mean_ap,
    precision_recall,
    resampled_map50,
)

CLASSES = 5
PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "data" / "epicure_ingredients" / "annotations"


def _random_set(seed, images=40):
    """Truth and noisy detections of a few images, as a detector of middling quality would give them."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for _ in range(images):
        n = int(rng.integers(0, 7))
        corner = rng.uniform(0, 300, (n, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(15, 120, (n, 2))], axis=1)
        labels = rng.integers(0, CLASSES, n)
        truth.append((boxes, labels))
        kept = rng.random(n) < 0.8
        noisy = boxes[kept] + rng.normal(0, 2, (kept.sum(), 4))  # never so much that a box turns inside out
        extra = int(rng.integers(0, 5))
        corner = rng.uniform(0, 300, (extra, 2))
        wrong = np.concatenate([corner, corner + rng.uniform(15, 120, (extra, 2))], axis=1)
        all_labels = np.concatenate([labels[kept], rng.integers(0, CLASSES, extra)])
        found.append((np.concatenate([noisy, wrong]), rng.random(kept.sum() + extra), all_labels))
    return truth, found


def _ours(truth, found, classes=CLASSES):
    shape = (400, 400)
    per_image = [match_image(b, s, c, tb, tc, shape) for (b, s, c), (tb, tc) in zip(found, truth, strict=True)]
    return collect_matches(per_image, classes)


def _pycocotools(truth, found, classes=CLASSES):
    coco_module = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    def xywh(box):
        return [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])]

    annotations = [
        {"image_id": i, "category_id": int(c), "bbox": xywh(b), "area": 1.0, "iscrowd": 0}
        for i, (boxes, labels) in enumerate(truth)
        for b, c in zip(boxes, labels, strict=True)
    ]
    for number, annotation in enumerate(annotations, 1):
        annotation["id"] = number
    detections = [
        {"image_id": i, "category_id": int(c), "bbox": xywh(b), "score": float(s)}
        for i, (boxes, scores, labels) in enumerate(found)
        for b, s, c in zip(boxes, scores, labels, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        reference = coco_module.COCO()
        reference.dataset = {
            "images": [{"id": i} for i in range(len(truth))],
            "annotations": annotations,
            "categories": [{"id": c, "name": str(c)} for c in range(classes)],
        }
        reference.createIndex()
        evaluation = COCOeval(reference, reference.loadRes(detections), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[1], evaluation.stats[0]


@pytest.mark.parametrize("seed", range(6))
def test_map_agrees_with_pycocotools(seed):
    truth, found = _random_set(seed)
    map50, map50_95 = mean_ap(average_precision(_ours(truth, found)))
    assert (map50, map50_95) == pytest.approx(_pycocotools(truth, found), abs=1e-6)


def _real_set():
    """The boxes of 225 real photos, 1 to 68 a photo, and what a detector might find of them, some of it many times."""
    if not PHOTOS.is_dir():
        pytest.skip(f"needs the real photos' annotations in {PHOTOS}")
    rng = np.random.default_rng(0)
    truth, found = [], []
    for path in sorted(PHOTOS.glob("*.json")):
        coco = json.loads(path.read_text())
        classes = len(coco["categories"])
        for image in coco["images"]:
            rows = [row for row in coco["annotations"] if row["image_id"] == image["id"]]
            boxes = np.array([row["bbox"] for row in rows], float).reshape(-1, 4)
            labels = np.array([row["category_id"] - 1 for row in rows], int)
            truth.append((np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]), labels))
            found.append(_disturb(*truth[-1], classes, rng, copies=40 if len(truth) % 20 == 0 else 2))
    return truth, found, classes


def _disturb(boxes, labels, classes, rng, copies):
    """Boxes that are off by up to a fifth of their size, each ``copies`` times, an eighth of them as something else."""
    boxes, labels = boxes.repeat(copies, axis=0), labels.repeat(copies)
    size = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    moved = boxes + size * rng.normal(0, 0.07, size.shape).clip(-0.2, 0.2)
    others = rng.integers(0, classes, len(labels))
    scores = rng.beta(2, 2, len(labels)).round(2)  # equal scores are common where scores are rounded
    return moved, scores, np.where(rng.random(len(labels)) < 1 / 8, others, labels)


def test_map_agrees_with_pycocotools_on_the_boxes_of_real_photos():
    """With classes that have no box in the test set, copies, wrong classes, and photos with over 100 boxes a class."""
    truth, found, classes = _real_set()
    assert max(np.bincount(labels).max() for _, _, labels in found if len(labels)) > MAX_DETECTIONS
    for part in (slice(None), slice(150, None)):
        ours = _ours(truth[part], found[part], classes + 2)
        reference = _pycocotools(truth[part], found[part], classes + 2)
        assert 0.3 < reference[0] < 0.95, "neither nothing nor everything is right"
        assert mean_ap(average_precision(ours)) == pytest.approx(reference, abs=1e-3)
    assert (ours.truth.sum(axis=0) == 0).sum() > 2


def test_weights_count_an_image_as_often_as_they_say():
    truth, found = _random_set(7, images=6)
    weights = np.array([2, 0, 1, 3, 0, 1])
    drawn = [i for i, w in enumerate(weights) for _ in range(w)]
    once = average_precision(_ours([truth[i] for i in drawn], [found[i] for i in drawn]))
    weighted = average_precision(_ours(truth, found), weights.astype(float))
    assert mean_ap(weighted) == pytest.approx(mean_ap(once), abs=0.02)  # equal scores may be ordered otherwise


@pytest.mark.parametrize("seed", range(3))
def test_bootstrap_draws_are_measured_as_one_test_set_is(seed):
    matches = _ours(*_random_set(seed, images=9))
    weights = np.random.default_rng(seed).integers(0, 3, (20, 9)).astype(float)
    weights[0] = 0
    one_by_one = [mean_ap(average_precision(matches, row))[0] for row in weights]
    assert resampled_map50(matches, weights) == pytest.approx(one_by_one, abs=1e-12)


def test_perfect_detections_score_one_and_missing_classes_are_left_out():
    boxes, labels = np.array([[0, 0, 10, 10], [20, 20, 50, 60.0]]), np.array([0, 3])
    matches = _ours([(boxes, labels)], [(boxes, np.array([0.9, 0.8]), labels)])
    ap = average_precision(matches)
    assert mean_ap(ap) == (1.0, 1.0)
    assert np.isnan(ap[[1, 2, 4]]).all()


def test_a_second_box_on_the_same_thing_is_an_invention():
    box = np.array([[0, 0, 10, 10.0]])
    twice = (np.repeat(box, 2, axis=0), np.array([0.9, 0.6]), np.array([1, 1]))
    precision, recall = precision_recall(_ours([(box, np.array([1]))], [twice]), confidence=0.25)
    assert (precision[1], recall[1]) == (0.5, 1.0)


def test_nothing_found_and_nothing_to_find():
    empty = (np.zeros((0, 4)), np.zeros(0, int))
    nothing = (np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))
    assert mean_ap(average_precision(_ours([empty], [nothing]))) == (0.0, 0.0)
    box = (np.array([[0, 0, 10, 10.0]]), np.array([2]))
    assert mean_ap(average_precision(_ours([box], [nothing]))) == (0.0, 0.0)

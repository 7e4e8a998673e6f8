"""Our average precision against pycocotools on the same predictions."""

import contextlib
import io

import numpy as np
import pytest

from hakka.detector.metrics import average_precision, collect_matches, match_image, mean_ap, precision_recall

CLASSES = 5


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


def _ours(truth, found):
    shape = (400, 400)
    per_image = [match_image(b, s, c, tb, tc, shape) for (b, s, c), (tb, tc) in zip(found, truth, strict=True)]
    return collect_matches(per_image, CLASSES)


def _pycocotools(truth, found):
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
            "categories": [{"id": c, "name": str(c)} for c in range(CLASSES)],
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


def test_weights_count_an_image_as_often_as_they_say():
    truth, found = _random_set(7, images=6)
    weights = np.array([2, 0, 1, 3, 0, 1])
    drawn = [i for i, w in enumerate(weights) for _ in range(w)]
    once = average_precision(_ours([truth[i] for i in drawn], [found[i] for i in drawn]))
    weighted = average_precision(_ours(truth, found), weights.astype(float))
    assert mean_ap(weighted) == pytest.approx(mean_ap(once), abs=0.02)  # equal scores may be ordered otherwise


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

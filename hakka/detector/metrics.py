"""Average precision after the COCO rules, from matches that are kept per image so that they can be resampled.

Source of the rules: Lin et al., "Microsoft COCO: Common Objects in Context", and its evaluation code: greedy matching
by score, ten IoU thresholds 0.50–0.95, precision made monotone and read at 101 recall points, 100 detections an image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hakka.boxes import Array, iou_matrix

IOUS = np.linspace(0.5, 0.95, 10)
RECALL_POINTS = np.linspace(0, 1, 101)
MAX_DETECTIONS = 100


@dataclass(frozen=True)
class Matches:
    """Every detection of a test set, matched, and how much there was to find.

    ``image``, ``label``, ``score`` are (n,); ``hit`` is (n, 10): is the detection right at each IoU of ``IOUS``?
    ``truth`` is (images, classes): boxes to find.
    """

    image: Array
    label: Array
    score: Array
    hit: Array
    truth: Array


def match_image(
    boxes: Array, scores: Array, labels: Array, true_boxes: Array, true_labels: Array
) -> tuple[Array, Array, Array]:
    """Scores (n,), labels (n,) and hits (n, 10) of one image's detections, best first, at most 100 a class.

    Boxes are (n, 4) and (m, 4) xyxy pixels.
    """
    order = np.argsort(-scores, kind="mergesort")
    boxes, scores, labels = boxes[order], scores[order], labels[order]
    kept = np.ones(len(scores), bool)
    for label in np.unique(labels):
        kept[np.flatnonzero(labels == label)[MAX_DETECTIONS:]] = False
    boxes, scores, labels = boxes[kept], scores[kept], labels[kept]
    hit = np.zeros((len(scores), len(IOUS)), bool)
    overlaps = iou_matrix(boxes, true_boxes)
    for level, threshold in enumerate(IOUS):
        taken = np.zeros(len(true_labels), bool)
        for i in range(len(scores)):
            free = np.where(taken | (true_labels != labels[i]), -1.0, overlaps[i]) if len(true_labels) else np.zeros(0)
            if free.size and free.max() >= min(threshold, 1 - 1e-10):
                taken[len(free) - 1 - int(np.argmax(free[::-1]))] = True  # the last of equals, as the reference does
                hit[i, level] = True
    return scores, labels, hit


def collect_matches(
    per_image: Sequence[tuple[Array, Array, Array]], true_labels: Sequence[Array], classes: int
) -> Matches:
    """The matches of a test set from each image's :func:`match_image` and true labels."""
    truth = np.stack([np.bincount(labels.astype(int), minlength=classes) for labels in true_labels])
    counts = [len(scores) for scores, _, _ in per_image]
    return Matches(
        image=np.repeat(np.arange(len(per_image)), counts),
        label=np.concatenate([labels for _, labels, _ in per_image]).astype(int),
        score=np.concatenate([scores for scores, _, _ in per_image]),
        hit=np.concatenate([hit for _, _, hit in per_image]),
        truth=truth,
    )


def average_precision(matches: Matches, weights: Array | None = None, levels: int = len(IOUS)) -> Array:
    """AP (classes, levels) at the first ``levels`` IoUs of ``IOUS``; NaN where there is nothing to find.

    ``weights`` (images,) counts each image that often, which is how a bootstrap draw is expressed.
    """
    classes = matches.truth.shape[1]
    weights = np.ones(len(matches.truth)) if weights is None else weights
    result = np.full((classes, levels), np.nan)
    order = np.argsort(-matches.score, kind="mergesort")
    label, hit, weight = matches.label[order], matches.hit[order, :levels], weights[matches.image[order]]
    total = weights @ matches.truth
    for c in np.flatnonzero(total > 0):
        rows = label == c
        w = weight[rows][:, None]
        right = np.cumsum(hit[rows] * w, axis=0)
        seen = np.cumsum(w, axis=0)
        precision = np.divide(right, seen, out=np.zeros_like(right), where=seen > 0)
        precision = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
        recall = right / total[c]
        for level in range(levels):
            at = np.searchsorted(recall[:, level], RECALL_POINTS, side="left")
            padded = np.append(precision[:, level], 0.0)
            result[c, level] = padded[np.minimum(at, len(padded) - 1)].mean()
    return result


def mean_ap(ap: Array) -> tuple[float, float]:
    """(mAP50, mAP50-95) over the classes that had something to find; zeros when none had."""
    known = ap[~np.isnan(ap).any(axis=1)]
    return (float(known[:, 0].mean()), float(known.mean())) if len(known) else (0.0, 0.0)


def precision_recall(matches: Matches, confidence: float) -> tuple[Array, Array]:
    """Precision and recall (classes,) at IoU 0.5 of the detections that reach ``confidence``; NaN where undefined."""
    classes = matches.truth.shape[1]
    kept = matches.score >= confidence
    found = np.bincount(matches.label[kept], minlength=classes).astype(float)
    right = np.bincount(matches.label[kept], weights=matches.hit[kept, 0], minlength=classes)
    total = matches.truth.sum(axis=0).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        return right / found, right / total

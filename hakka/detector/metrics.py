"""Average precision after the COCO rules, from matches that are kept per image so that they can be resampled.

Source of the rules: Lin et al., "Microsoft COCO: Common Objects in Context", and its evaluation code: greedy matching
by score, ten IoU thresholds 0.50–0.95, precision made monotone and read at 101 recall points, 100 detections an image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hakka.boxes import Array, box_areas, iou_matrix

IOUS = np.linspace(0.5, 0.95, 10)
RECALL_POINTS = np.linspace(0, 1, 101)
MAX_DETECTIONS = 100
SIZES = ("small", "medium", "large")
SIZE_LIMITS = (0.1, 0.3)  # of the root of a box's share of the photo


@dataclass(frozen=True)
class Matches:
    """Every detection of a test set, matched, and how much there was to find.

    ``image``, ``label``, ``score`` are (n,); ``hit`` is (n, 10): is the detection right at each IoU of ``IOUS``?
    ``truth`` is (images, classes): boxes to find. ``size`` (n,) is the size of the detection's own box, 0 to 2 for
    small, medium and large, that of the thing it hit at IoU 0.5 if it hit one; ``truth_size`` (images, classes, 3)
    counts the boxes to find by size.
    """

    image: Array
    label: Array
    score: Array
    hit: Array
    truth: Array
    size: Array
    truth_size: Array


@dataclass(frozen=True)
class ImageMatches:
    """One image's detections, best first, at most 100 a class: scores, labels, sizes (n,) and hits (n, 10).

    ``true_labels`` and ``true_sizes`` (m,) are what there was to find.
    """

    scores: Array
    labels: Array
    sizes: Array
    hits: Array
    true_labels: Array
    true_sizes: Array


def box_sizes(boxes: Array, width: int, height: int) -> Array:
    """(n,) 0 for small, 1 for medium, 2 for large (n, 4) xyxy boxes of a photo, by the root of their share of it.

    Shares, not pixels: a detector sees every photo at one size, so what is small to it is small beside its photo.
    """
    sizes: Array = np.searchsorted(SIZE_LIMITS, np.sqrt(box_areas(boxes) / (width * height)), side="right")
    return sizes


def match_image(
    boxes: Array, scores: Array, labels: Array, true_boxes: Array, true_labels: Array, shape: tuple[int, int]
) -> ImageMatches:
    """Match one image's detections; boxes are (n, 4) and (m, 4) xyxy pixels of a photo of ``shape`` width, height."""
    order = np.argsort(-scores, kind="mergesort")
    boxes, scores, labels = boxes[order], scores[order], labels[order]
    kept = np.ones(len(scores), bool)
    for label in np.flatnonzero(np.bincount(labels) > MAX_DETECTIONS):
        kept[np.flatnonzero(labels == label)[MAX_DETECTIONS:]] = False
    boxes, scores, labels = boxes[kept], scores[kept], labels[kept]
    sizes, true_sizes = box_sizes(boxes, *shape), box_sizes(true_boxes, *shape)
    overlaps = np.where(labels[:, None] == true_labels[None, :], iou_matrix(boxes, true_boxes), 0.0)
    hits = np.zeros((len(scores), len(IOUS)), bool)
    near = _near(overlaps)
    for level, threshold in enumerate(IOUS):
        taken: set[int] = set()
        least = min(threshold, 1 - 1e-10)
        for i, things in near.items():
            found = next((j for overlap, j in things if overlap >= least and j not in taken), None)
            if found is not None:
                taken.add(found)
                hits[i, level] = True
                if level == 0:
                    sizes[i] = true_sizes[found]
    return ImageMatches(scores, labels, sizes, hits, true_labels, true_sizes)


def _near(overlaps: Array) -> dict[int, list[tuple[float, int]]]:
    """The detections that are near something, in their order: what it is, best first, and of equals the last.

    ``overlaps`` is (n, m). Most detections are near nothing, and few things are near any, so lists are faster here.
    """
    near: dict[int, list[tuple[float, int]]] = {}
    for i, j in np.argwhere(overlaps >= IOUS[0] - 1e-10).tolist():
        near.setdefault(i, []).append((float(overlaps[i, j]), j))
    return {i: sorted(things, reverse=True) for i, things in near.items()}


def collect_matches(per_image: Sequence[ImageMatches], classes: int) -> Matches:
    """The matches of a test set from those of its images."""
    counts = [len(match.scores) for match in per_image]
    truth_size = np.zeros((len(per_image), classes, len(SIZES)), int)
    for i, match in enumerate(per_image):
        np.add.at(truth_size[i], (match.true_labels.astype(int), match.true_sizes), 1)
    return Matches(
        image=np.repeat(np.arange(len(per_image)), counts),
        label=np.concatenate([match.labels for match in per_image]).astype(int),
        score=np.concatenate([match.scores for match in per_image]),
        hit=np.concatenate([match.hits for match in per_image]),
        truth=truth_size.sum(axis=2),
        size=np.concatenate([match.sizes for match in per_image]).astype(int),
        truth_size=truth_size,
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


def resampled_map50(matches: Matches, weights: Array) -> Array:
    """mAP50 (draws,) of bootstrap draws: each row of ``weights`` (draws, images) says how often an image counts.

    What ``average_precision`` and ``mean_ap`` give for each row, all draws at once; 0 where nothing is to be found.
    """
    order = np.argsort(-matches.score, kind="mergesort")
    image, label, hit = matches.image[order], matches.label[order], matches.hit[order, 0]
    total = weights @ matches.truth
    known = total > 0
    ap = np.zeros(total.shape)
    for c in np.flatnonzero(known.any(axis=0)):
        rows = label == c
        weight = weights[:, image[rows]]
        hits = np.flatnonzero(hit[rows])  # between two of them precision only falls, and recall stays
        seen, right = np.cumsum(weight, axis=1)[:, hits], np.cumsum(weight[:, hits], axis=1)
        precision = np.divide(right, seen, out=np.zeros_like(right), where=seen > 0)
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recall = right / np.maximum(total[:, c], 1)[:, None]
        reached = np.searchsorted(RECALL_POINTS, recall, side="right")  # of the points at which precision is read
        ap[:, c] = (precision * np.diff(reached, axis=1, prepend=0)).sum(axis=1) / len(RECALL_POINTS)
    result: Array = np.where(known, ap, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
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

"""What else the matches of a test set say: thresholds, precision over recall, confusion, calibration."""

from typing import Any

import numpy as np

from hakka.boxes import Array, iou_matrix
from hakka.detector.metrics import RECALL_POINTS, Matches

BINS = 10


def precision_curves(matches: Matches) -> Array:
    """(classes, 101) interpolated precision at IoU 0.5 at each of ``RECALL_POINTS``; NaN without anything to find."""
    result = np.full((matches.truth.shape[1], len(RECALL_POINTS)), np.nan)
    for c, (_, precision, recall) in _curves(matches).items():
        monotone = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
        result[c] = monotone[np.minimum(np.searchsorted(recall, RECALL_POINTS), len(monotone) - 1)]
    return result


def best_thresholds(matches: Matches) -> tuple[Array, Array]:
    """Confidence (classes,) at which a class's F1 at IoU 0.5 is highest, and that F1; NaN where nothing was right."""
    confidence, f1 = (np.full(matches.truth.shape[1], np.nan) for _ in range(2))
    for c, (score, precision, recall) in _curves(matches).items():
        values = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        if len(values) and values.max() > 0:
            best = int(np.argmax(values))
            confidence[c], f1[c] = score[best], values[best]
    return confidence, f1


def _curves(matches: Matches) -> dict[int, tuple[Array, Array, Array]]:
    """Class → scores, precision and recall after each of its detections, best first."""
    order = np.argsort(-matches.score, kind="mergesort")
    curves = {}
    total = matches.truth.sum(axis=0)
    for c in np.flatnonzero(total):
        rows = order[matches.label[order] == c]
        right = np.cumsum(matches.hit[rows, 0])
        curves[int(c)] = (matches.score[rows], right / np.arange(1, len(rows) + 1), right / total[c])
    return curves


def confusion(boxes: Array, labels: Array, true_boxes: Array, true_labels: Array, classes: int) -> Array:
    """(classes + 1, classes + 1) counts of one image: row the true class, column the detected one, last "nothing".

    Boxes are (n, 4) and (m, 4) xyxy; pairs are made whatever their classes, best overlap first, from IoU 0.5 on.
    """
    matrix = np.zeros((classes + 1, classes + 1), int)
    overlaps = iou_matrix(boxes, true_boxes)
    found, wanted = np.ones(len(boxes), bool), np.ones(len(true_boxes), bool)
    rows, columns = np.nonzero(overlaps >= 0.5)
    for k in np.argsort(-overlaps[rows, columns], kind="stable"):
        i, j = rows[k], columns[k]
        if found[i] and wanted[j]:
            found[i] = wanted[j] = False
            matrix[true_labels[j], labels[i]] += 1
    matrix[classes] += np.bincount(labels[found], minlength=classes + 1)
    matrix[:, classes] += np.bincount(true_labels[wanted], minlength=classes + 1)
    return matrix


def calibration(matches: Matches, least: float) -> dict[str, Any]:
    """How far confidence is from precision, for detections of confidence ``least`` or more, at IoU 0.5.

    ``error`` is the expected calibration error over ten bins of equal width (Naeini et al., AAAI 2015), None without a
    detection; ``bins`` hold ``low``, ``high``, ``count``, mean ``confidence`` and ``precision`` of those not empty.
    """
    kept = matches.score >= least
    score, hit = matches.score[kept], matches.hit[kept, 0]
    places = np.minimum((score * BINS).astype(int), BINS - 1)
    bins = []
    for b in np.unique(places):
        inside = places == b
        bins.append(
            {
                "low": round(b / BINS, 2),
                "high": round((b + 1) / BINS, 2),
                "count": int(inside.sum()),
                "confidence": round(float(score[inside].mean()), 4),
                "precision": round(float(hit[inside].mean()), 4),
            }
        )
    gap = sum(row["count"] * abs(row["confidence"] - row["precision"]) for row in bins)
    return {"error": round(gap / len(score), 4) if len(score) else None, "bins": bins}

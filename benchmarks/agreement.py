"""Whether two detectors find the same on the same photos."""

from typing import Any

Box = tuple[str, float, list[float]]  # class name, confidence, left, top, right, bottom in pixels
Found = list[Box]  # on one photo
OVERLAP = 0.9  # of two boxes that are the same


def found_by_hakka(answer: dict[str, Any]) -> Found:
    """What a v1 answer to one photo says."""
    detections = answer["predictions"][0]["detections"]
    return [(found["name"], found["confidence"], found["box"]) for found in detections]


def found_by_ultralytics(results: list[dict[str, Any]]) -> Found:
    """What ``Results.to_json`` says."""
    return [
        (found["name"], found["confidence"], [found["box"][k] for k in ("x1", "y1", "x2", "y2")]) for found in results
    ]


def agreement(ours: list[Found], theirs: list[Found]) -> tuple[int, float]:
    """How many boxes both have, and their share of the boxes of either (1 if there are none)."""
    same = sum(_same(one, other) for one, other in zip(ours, theirs, strict=True))
    either = sum(map(len, ours)) + sum(map(len, theirs)) - same
    return same, same / either if either else 1.0


def _same(ours: Found, theirs: Found) -> int:
    left, count = list(theirs), 0
    for name, _, box in ours:
        match = next((other for other in left if other[0] == name and _overlap(box, other[2]) >= OVERLAP), None)
        if match is not None:
            left.remove(match)
            count += 1
    return count


def _overlap(one: list[float], other: list[float]) -> float:
    """Intersection over union."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return both / (sum(areas) - both)

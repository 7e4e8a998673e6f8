"""The promotion gate: may a challenger take the champion's place? Statistics on the same images, no I/O in the rule.

A challenger that is the best of several variants was picked by its mAP50 on these same images, so luck picked with it:
of five that are as good as the champion, the luckiest looks better. The gate therefore asks of the best of K the
confidence that makes a wrong yes to any of the K as rare as to a single one, 1 - (1 - confidence) / K (Bonferroni;
Dunn, "Multiple Comparisons Among Means", 1961).
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hakka.detector.evaluate import Evaluation, read_evaluation
from hakka.detector.impact import recipe_impact
from hakka.detector.metrics import Matches, resampled_map50
from hakka.detector.slices import Slice, check_names, take_slice
from hakka.detector.variants import read_comparison
from hakka.errors import InvalidInput
from hakka.files import write_json

MOST_DRAWS = 100_000
AT_ONCE = 20_000_000  # numbers of the draws, for the memory: each draw is one for every detection
LEAST_BEYOND = 10


@dataclass(frozen=True)
class GateParams:
    """Section ``gate`` of params.yaml.

    ``floor``: mAP50 that a first model must reach. ``margin``: loss of mAP50 that may remain possible; with 0 the
    challenger must be better beyond chance. ``slices``: names of slices that are protected, ``slice_margin``: the loss
    of mAP50 that may remain possible on each, ``slice_boxes``: test boxes below which a slice is too small to judge.
    ``confidence``: of the bootstrap interval; the best of several variants needs more. ``draws``: bootstrap samples.
    ``seed``: of the draws.
    """

    floor: float
    margin: float
    confidence: float
    draws: int
    seed: int
    slices: list[str] = field(default_factory=list)
    slice_margin: float = 0.1
    slice_boxes: int = 50

    def __post_init__(self) -> None:
        for name in ("floor", "margin", "confidence", "slice_margin"):
            if not 0 <= getattr(self, name) < 1:
                raise InvalidInput(f"gate.{name} must be from 0 up to 1, got {getattr(self, name)}")
        for name in ("seed", "slice_boxes"):
            if getattr(self, name) < 0:
                raise InvalidInput(f"gate.{name} must not be negative, got {getattr(self, name)}")
        if not 100 <= self.draws <= MOST_DRAWS:
            raise InvalidInput(f"gate.draws must be 100 to {MOST_DRAWS}, got {self.draws}")
        if not isinstance(self.slices, list) or not all(isinstance(name, str) for name in self.slices):
            raise InvalidInput(f"gate.slices must be a list of slice names, got {self.slices!r}")
        check_names(self.slices)


@dataclass(frozen=True)
class Decision:
    """The gate's answer, in a sentence for people and in numbers for programs."""

    promote: bool
    reason: str
    numbers: dict[str, Any]


def decide(challenger: Path, champion: Path, out: Path, params: GateParams) -> Decision:
    """Compare two evaluation folders and write ``out``/decision.json, with what the change means for recipes.

    ``champion`` may be an evaluation that says that there is no champion. Where the challenger is one of several
    variants, its evaluation says of how many, and whether any of them was fast enough.

    Raises:
        InvalidInput: an evaluation cannot be read, or the two were made on different test images.
    """
    new, old = read_evaluation(challenger), read_evaluation(champion)
    if new is None:
        raise InvalidInput(f"{challenger}: the challenger's evaluation holds no model")
    comparison = read_comparison(challenger)
    decision = compare(new, old, params, comparison.get("candidates", 1))
    if comparison.get("refusal"):
        decision = Decision(False, comparison["refusal"], decision.numbers)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "decision.json", asdict(decision) | {"impact": recipe_impact(challenger, champion)})
    return decision


def compare(challenger: Evaluation, champion: Evaluation | None, params: GateParams, candidates: int = 1) -> Decision:
    """The rule itself, for a challenger that is the best of ``candidates``.

    Without a champion the challenger must reach ``floor``. With one, the lower end of the paired bootstrap interval of
    the difference in mAP50 over the same images must lie above ``-margin``, and on no protected slice below
    ``-slice_margin``. The champion itself may stay. Protected slices with fewer than ``slice_boxes`` boxes are not
    judged: ``numbers`` and the sentence name them with their boxes.

    Raises:
        InvalidInput: the two were evaluated on different test images.
    """
    numbers: dict[str, Any] = {"challenger_map50": challenger.map50, "champion_map50": None}
    if champion is not None:
        numbers["champion_map50"] = champion.map50
        if challenger.images != champion.images:
            raise InvalidInput("gate: challenger and champion must be evaluated on the same test images, they were not")
        if challenger.version == champion.version:
            return Decision(True, f"the challenger is the champion itself, version {champion.version}", numbers)
    boxes = _count_boxes(challenger, params)
    limit = max(params.slice_boxes, 1)
    small = {name: count for name, count in boxes.items() if count < limit}
    numbers |= {"slice_boxes": limit, "small_slices": small}
    if champion is None:
        numbers["floor"] = params.floor
        passed = challenger.map50 >= params.floor
        verb = "reaches" if passed else "does not reach"
        reason = f"there is no champion yet, and mAP50 {challenger.map50:.3f} {verb} the floor of {params.floor:.3f}"
        return Decision(passed, reason + _tell_small(small, limit), numbers)
    params = correct_for(candidates, params)
    low, high = bootstrap_difference(challenger.matches, champion.matches, params)
    numbers |= {"difference_low": low, "difference_high": high, "margin": params.margin, "draws": params.draws}
    numbers |= {"candidates": candidates, "confidence": params.confidence}
    passed = low > -params.margin  # equal, as on a test set where both find everything, is not better
    reason = (
        f"mAP50 is {challenger.map50:.3f}, the champion's {champion.map50:.3f}: {_tell_difference(low, high)} "
        f"({100 * params.confidence:.3g} % of resamplings{f', as the best of {candidates}' if candidates > 1 else ''})"
    )
    if params.margin and low <= 0:
        reason += f", {'within' if passed else 'which is not within'} the margin of {params.margin:.3f}"
    elif not passed and high >= 0:
        reason += ", which is not better beyond chance"
    judged = _judge_slices(challenger, champion, params, {name: boxes[name] for name in boxes if name not in small})
    numbers["slices"] = judged
    lost = [name for name, row in judged.items() if not row["passed"]]
    if passed and lost:
        told = ", ".join(f"{name} ({_tell_difference(judged[name]['low'], judged[name]['high'])})" for name in lost)
        reason += f"; but not within the {params.slice_margin:.3f} that a protected slice may lose: {told}"
    return Decision(passed and not lost, reason + _tell_small(small, limit), numbers)


def _tell_difference(low: float, high: float) -> str:
    """An interval of the challenger's mAP50 less the champion's, in words."""
    if low == high == 0:
        return "no difference"
    if low > 0:
        return f"better by {_amount(low)} to {_amount(high)}"
    if high < 0:
        return f"worse by {_amount(high)} to {_amount(low)}"
    worst = f"{_amount(low)} worse" if low else "equal"
    return f"from {worst} to " + (f"{_amount(high)} better" if high else "equal")


def _amount(difference: float) -> str:
    return f"{abs(difference):.3f}" if abs(difference) >= 0.0005 else "under 0.001"


def _tell_small(small: Mapping[str, int], limit: int) -> str:
    """The protected slices that cannot be judged, as the end of a sentence; empty where there are none."""
    named = ", ".join(f"{name} ({boxes})" for name, boxes in small.items())
    return f"; slices not protected, with fewer than {limit} test boxes: {named}" if small else ""


def correct_for(candidates: int, params: GateParams) -> GateParams:
    """The parameters that ask of the best of ``candidates`` what ``params`` ask of a single one.

    There are more draws where it takes them, so that ten lie beyond each end of the interval.
    """
    if candidates == 1:
        return params
    confidence = 1 - (1 - params.confidence) / candidates
    needed = math.ceil(2 * LEAST_BEYOND / max(1 - confidence, 1e-9))
    return replace(params, confidence=confidence, draws=max(params.draws, min(needed, MOST_DRAWS)))


def _count_boxes(evaluation: Evaluation, params: GateParams) -> dict[str, int]:
    """The test boxes of each protected slice; a value that no photo's metadata has is one without boxes."""
    parts = {name: evaluation.slices.get(name, Slice(images=())) for name in params.slices}
    return {name: int(take_slice(evaluation.matches, part).truth.sum()) for name, part in parts.items()}


def _judge_slices(
    challenger: Evaluation, champion: Evaluation, params: GateParams, boxes: Mapping[str, int]
) -> dict[str, dict[str, Any]]:
    """The interval of the difference on each slice that ``boxes`` names, and whether it rules out too large a loss."""
    judged: dict[str, dict[str, Any]] = {}
    for name, count in boxes.items():
        part = challenger.slices[name]
        new, old = take_slice(challenger.matches, part), take_slice(champion.matches, part)
        low, high = bootstrap_difference(new, old, params)
        judged[name] = {"boxes": count, "low": low, "high": high, "passed": low >= -params.slice_margin}
    return judged


def bootstrap_difference(challenger: Matches, champion: Matches, params: GateParams) -> tuple[float, float]:
    """The two ends of the percentile interval of mAP50(challenger) − mAP50(champion), images drawn with replacement.

    Source: Efron & Tibshirani, "An Introduction to the Bootstrap", chapter 13; paired, as both see the same draw.
    """
    rng = np.random.default_rng(params.seed)
    images = len(challenger.truth)
    parts = []
    at_once = max(1, AT_ONCE // max(len(challenger.score), len(champion.score), images))
    for first in range(0, params.draws, at_once):
        drawn = rng.integers(0, images, (min(at_once, params.draws - first), images))
        weights = np.stack([np.bincount(draw, minlength=images) for draw in drawn]).astype(float)
        parts.append(resampled_map50(challenger, weights) - resampled_map50(champion, weights))
    differences = np.concatenate(parts)
    tail = (1 - params.confidence) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    return float(low), float(high)

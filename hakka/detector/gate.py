"""The promotion gate: may a challenger take the champion's place? Statistics on the same images, no I/O in the rule."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hakka.boxes import Array
from hakka.detector.evaluate import Evaluation, read_evaluation
from hakka.detector.metrics import average_precision
from hakka.errors import InvalidInput
from hakka.files import write_json


@dataclass(frozen=True)
class GateParams:
    """Section ``gate`` of params.yaml.

    ``floor``: mAP50 that a first model must reach. ``margin``: loss of mAP50 that may remain possible. ``confidence``:
    of the bootstrap interval. ``draws``: bootstrap samples. ``seed``: of the draws.
    """

    floor: float
    margin: float
    confidence: float
    draws: int
    seed: int

    def __post_init__(self) -> None:
        for name in ("floor", "margin", "confidence"):
            if not 0 <= getattr(self, name) < 1:
                raise InvalidInput(f"gate.{name} must be from 0 up to 1, got {getattr(self, name)}")
        if self.seed < 0:
            raise InvalidInput(f"gate.seed must not be negative, got {self.seed}")
        if not 100 <= self.draws <= 100_000:
            raise InvalidInput(f"gate.draws must be 100 to 100000, got {self.draws}")


@dataclass(frozen=True)
class Decision:
    """The gate's answer, in a sentence for people and in numbers for programs."""

    promote: bool
    reason: str
    numbers: dict[str, Any]


def decide(challenger: Path, champion: Path, out: Path, params: GateParams) -> Decision:
    """Compare two evaluation folders and write ``out``/decision.json.

    ``champion`` may be an evaluation that says that there is no champion.

    Raises:
        InvalidInput: an evaluation cannot be read, or the two were made on different test images.
    """
    new, old = read_evaluation(challenger), read_evaluation(champion)
    if new is None:
        raise InvalidInput(f"{challenger}: the challenger's evaluation holds no model")
    decision = compare(new, old, params)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "decision.json", asdict(decision))
    return decision


def compare(challenger: Evaluation, champion: Evaluation | None, params: GateParams) -> Decision:
    """The rule itself.

    Without a champion the challenger must reach ``floor``. With one, the lower end of the paired bootstrap interval of
    the difference in mAP50 over the same images must not lie below ``-margin``. The champion itself may stay.

    Raises:
        InvalidInput: the two were evaluated on different test images.
    """
    numbers: dict[str, Any] = {"challenger_map50": challenger.map50, "champion_map50": None}
    if champion is None:
        numbers["floor"] = params.floor
        passed = challenger.map50 >= params.floor
        verb = "reaches" if passed else "does not reach"
        reason = f"there is no champion yet, and mAP50 {challenger.map50:.3f} {verb} the floor of {params.floor:.3f}"
        return Decision(passed, reason, numbers)
    if challenger.images != champion.images:
        raise InvalidInput("gate: challenger and champion must be evaluated on the same test images, they were not")
    numbers["champion_map50"] = champion.map50
    if challenger.version == champion.version:
        return Decision(True, f"the challenger is the champion itself, version {champion.version}", numbers)
    low, high = bootstrap_difference(challenger, champion, params)
    numbers |= {"difference_low": low, "difference_high": high, "margin": params.margin, "draws": params.draws}
    passed = low >= -params.margin
    between = f"between {low:+.3f} and {high:+.3f} of the champion's {champion.map50:.3f}"
    reason = (
        f"mAP50 {challenger.map50:.3f} is {between} with {params.confidence:.0%} confidence, "
        + ("which rules out" if passed else "which does not rule out")
        + f" a loss of more than {params.margin:.3f}"
    )
    return Decision(passed, reason, numbers)


def bootstrap_difference(challenger: Evaluation, champion: Evaluation, params: GateParams) -> tuple[float, float]:
    """The two ends of the percentile interval of mAP50(challenger) − mAP50(champion), images drawn with replacement.

    Source: Efron & Tibshirani, "An Introduction to the Bootstrap", chapter 13; paired, as both see the same draw.
    """
    rng = np.random.default_rng(params.seed)
    images = len(challenger.images)
    differences = np.empty(params.draws)
    for i in range(params.draws):
        weights = np.bincount(rng.integers(0, images, images), minlength=images).astype(float)
        differences[i] = _map50(challenger, weights) - _map50(champion, weights)
    tail = (1 - params.confidence) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    return float(low), float(high)


def _map50(evaluation: Evaluation, weights: Array) -> float:
    ap = average_precision(evaluation.matches, weights, levels=1)[:, 0]
    return float(np.nanmean(ap)) if not np.isnan(ap).all() else 0.0

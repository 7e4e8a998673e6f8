"""The gate's rule: what it lets through, what it does not, and that it says why."""

import numpy as np
import pytest

from hakka.detector.evaluate import Evaluation
from hakka.detector.gate import GateParams, compare
from hakka.detector.metrics import Matches, average_precision, mean_ap
from hakka.errors import InvalidInput

PARAMS = GateParams(floor=0.3, margin=0.02, confidence=0.95, draws=300, seed=0)


def _evaluation(version, hit_rate, seed=1, images=60):
    """A detector that finds each thing with probability ``hit_rate``; two classes, three things an image."""
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(images), 3)
    hit = np.repeat((rng.random(len(image)) < hit_rate)[:, None], 10, axis=1)
    label = np.tile([0, 1, 0], images)
    truth = np.tile([2, 1], (images, 1))
    matches = Matches(image, label, rng.random(len(image)), hit, truth)
    map50, map50_95 = mean_ap(average_precision(matches))
    return Evaluation(version, tuple(f"{i:064x}" for i in range(images)), matches, map50, map50_95)


def test_a_better_model_is_promoted():
    decision = compare(_evaluation("b" * 12, 0.95), _evaluation("a" * 12, 0.6), PARAMS)
    assert decision.promote
    assert "rules out" in decision.reason
    assert decision.numbers["difference_low"] > 0


def test_a_worse_model_is_not():
    decision = compare(_evaluation("b" * 12, 0.5), _evaluation("a" * 12, 0.9), PARAMS)
    assert not decision.promote
    assert decision.numbers["difference_high"] < 0
    assert f"{decision.numbers['champion_map50']:.3f}" in decision.reason


def test_a_model_that_may_be_worse_is_not_promoted_on_few_images():
    decision = compare(
        _evaluation("b" * 12, 0.7, seed=4, images=8), _evaluation("a" * 12, 0.7, seed=3, images=8), PARAMS
    )
    assert not decision.promote
    assert "does not rule out" in decision.reason


@pytest.mark.parametrize(("hit_rate", "passes"), [(0.9, True), (0.1, False)])
def test_a_first_model_must_reach_the_floor(hit_rate, passes):
    decision = compare(_evaluation("a" * 12, hit_rate), None, PARAMS)
    assert decision.promote is passes
    assert "0.300" in decision.reason


def test_the_champion_itself_may_stay_champion():
    champion = _evaluation("a" * 12, 0.7)
    assert compare(champion, champion, PARAMS).promote


def test_the_same_numbers_give_the_same_decision():
    new, old = _evaluation("b" * 12, 0.72), _evaluation("a" * 12, 0.7, seed=2)
    assert compare(new, old, PARAMS) == compare(new, old, PARAMS)


def test_two_test_sets_cannot_be_compared():
    with pytest.raises(InvalidInput, match="same test images"):
        compare(_evaluation("b" * 12, 0.9, images=60), _evaluation("a" * 12, 0.9, images=59), PARAMS)


@pytest.mark.parametrize(("name", "value"), [("floor", -0.1), ("margin", 1.0), ("confidence", 2.0), ("draws", 10)])
def test_params_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(InvalidInput, match=rf"gate\.{name}"):
        GateParams(**{**vars(PARAMS), name: value})

"""The gate's rule: what it lets through, what it does not, and that it says why."""

from dataclasses import replace

import numpy as np
import pytest

from hakka.detector.evaluate import Evaluation
from hakka.detector.gate import GateParams, compare, correct_for, decide
from hakka.detector.metrics import Matches, average_precision, mean_ap
from hakka.detector.slices import Slice
from hakka.errors import InvalidInput
from hakka.files import write_json

PARAMS = GateParams(floor=0.3, margin=0.02, confidence=0.95, draws=300, seed=0)


def _evaluation(version, hit_rate, seed=1, images=60, small_rate=None):
    """A detector that finds each thing with probability ``hit_rate``; two classes, three things an image."""
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(images), 3)
    hit = np.repeat((rng.random(len(image)) < hit_rate)[:, None], 10, axis=1)
    label = np.tile([0, 1, 0], images)
    truth = np.tile([2, 1], (images, 1))
    size = np.tile([0, 2, 2], images)  # the first thing of each image is small
    truth_size = np.zeros((images, 2, 3), int)
    truth_size[:, 0, 0] = truth_size[:, 0, 2] = truth_size[:, 1, 2] = 1
    if small_rate is not None:
        hit[::3] = (rng.random(images) < small_rate)[:, None]
    matches = Matches(image, label, rng.random(len(image)), hit, truth, size, truth_size)
    map50, map50_95 = mean_ap(average_precision(matches))
    slices = {"small boxes": Slice(size=0), "dark": Slice(images=tuple(range(5))), "rare classes": Slice(classes=(1,))}
    return Evaluation(version, tuple(f"{i:064x}" for i in range(images)), matches, map50, map50_95, slices)


def test_a_better_model_is_promoted():
    decision = compare(_evaluation("b" * 12, 0.95), _evaluation("a" * 12, 0.6), PARAMS)
    assert decision.promote
    low, high = decision.numbers["difference_low"], decision.numbers["difference_high"]
    assert 0 < low < high
    assert f": better by {low:.3f} to {high:.3f} (95 % of resamplings)" in decision.reason


def test_a_worse_model_is_not():
    decision = compare(_evaluation("b" * 12, 0.5), _evaluation("a" * 12, 0.9), PARAMS)
    assert not decision.promote
    low, high = decision.numbers["difference_low"], decision.numbers["difference_high"]
    assert low < high < 0
    new, old = decision.numbers["challenger_map50"], decision.numbers["champion_map50"]
    assert decision.reason == (
        f"mAP50 is {new:.3f}, the champion's {old:.3f}: "
        f"worse by {-high:.3f} to {-low:.3f} (95 % of resamplings), which is not within the margin of 0.020"
    )


def test_a_model_that_may_be_worse_is_not_promoted_on_few_images():
    decision = compare(
        _evaluation("b" * 12, 0.7, seed=5, images=8), _evaluation("a" * 12, 0.7, seed=3, images=8), PARAMS
    )
    assert not decision.promote
    low, high = decision.numbers["difference_low"], decision.numbers["difference_high"]
    assert f": from {-low:.3f} worse to {high:.3f} better (95 % of resamplings), which is not within" in decision.reason


def test_a_small_loss_that_the_margin_allows_is_told_as_one():
    new, old = _evaluation("b" * 12, 0.88, seed=1, images=400), _evaluation("a" * 12, 0.9, seed=1, images=400)
    decision = compare(new, old, replace(PARAMS, margin=0.1))
    assert decision.promote
    assert decision.numbers["difference_high"] < 0
    assert ": worse by " in decision.reason
    assert decision.reason.endswith("(95 % of resamplings), within the margin of 0.100")


def test_a_model_that_is_better_overall_and_worse_on_a_protected_slice_is_refused():
    challenger = _evaluation("b" * 12, 0.97, small_rate=0.3, images=120)
    champion = _evaluation("a" * 12, 0.5, small_rate=0.8, images=120)
    assert compare(challenger, champion, PARAMS).promote
    decision = compare(challenger, champion, replace(PARAMS, slices=["small boxes", "rare classes"]))
    assert not decision.promote
    small = decision.numbers["slices"]["small boxes"]
    told = f"small boxes (worse by {-small['high']:.3f} to {-small['low']:.3f})"
    assert decision.reason.endswith(f"; but not within the 0.100 that a protected slice may lose: {told}")
    assert small["high"] < 0 < decision.numbers["slices"]["rare classes"]["low"]


@pytest.mark.parametrize("champion", [_evaluation("a" * 12, 0.6), None])
def test_protected_slices_with_too_few_boxes_to_judge_are_named_with_their_boxes(champion):
    names = ["small boxes", "dark", "place=fridge"]
    decision = compare(_evaluation("b" * 12, 0.95), champion, replace(PARAMS, slices=names))
    assert decision.promote
    assert decision.reason.endswith(
        "; slices not protected, with fewer than 50 test boxes: dark (15), place=fridge (0)"
    )
    assert decision.numbers["small_slices"] == {"dark": 15, "place=fridge": 0}
    assert decision.numbers["slice_boxes"] == 50
    assert list(decision.numbers.get("slices", {"small boxes": None})) == ["small boxes"]
    assert "not protected" not in compare(_evaluation("b" * 12, 0.95), champion, PARAMS).reason


@pytest.mark.parametrize(
    ("name", "words"), [("smal boxes", "nearest is 'small boxes'"), ("zoo", "known are dark, bright, blurred")]
)
def test_a_slice_that_no_test_set_has_is_refused_when_the_params_are_read(name, words):
    with pytest.raises(InvalidInput, match=rf"^gate\.slices: .* got '{name}'; {words}"):
        replace(PARAMS, slices=["dark", name])


def test_without_a_margin_equal_models_rarely_take_each_others_place():
    params = replace(PARAMS, margin=0.0, draws=100)
    pairs = [(_evaluation("b" * 12, 0.7, seed=i), _evaluation("a" * 12, 0.7, seed=1000 + i)) for i in range(60)]
    assert sum(compare(new, old, params).promote for new, old in pairs) <= 5


def test_a_model_that_finds_the_same_is_not_better():
    params = replace(PARAMS, margin=0.0)
    for rate in (0.7, 1.0):
        decision = compare(_evaluation("b" * 12, rate), _evaluation("a" * 12, rate), params)
        assert decision.numbers["difference_low"] == decision.numbers["difference_high"] == 0
        assert not decision.promote
        assert ": no difference (95 % of resamplings), which is not better beyond chance" in decision.reason


def test_the_luckiest_of_five_equal_variants_rarely_takes_the_champions_place():
    """The bootstrap of the gate over 400 runs at once, each image's score a number; without the correction it fails."""
    rng = np.random.default_rng(0)
    runs, variants, images = 400, 5, 60
    champion = rng.normal(size=(runs, 1, images))
    challengers = rng.normal(size=(runs, variants, images))
    best = challengers.mean(axis=2).argmax(axis=1)
    difference = challengers[np.arange(runs), best] - champion[:, 0]

    def wrongly_promoted(candidates):
        params = correct_for(candidates, replace(PARAMS, draws=400))
        draws = rng.multinomial(images, np.full(images, 1 / images), params.draws) / images
        low = np.quantile(draws @ difference.T, (1 - params.confidence) / 2, axis=0)
        return (low >= 0).mean()

    assert wrongly_promoted(variants) <= 0.05
    assert wrongly_promoted(1) > 0.05


def test_the_best_of_several_is_held_to_more_and_the_reason_says_so():
    new, old = _evaluation("b" * 12, 0.95), _evaluation("a" * 12, 0.6)
    alone, best = compare(new, old, PARAMS), compare(new, old, PARAMS, 5)
    assert alone.reason.endswith("(95 % of resamplings)")
    assert best.reason.endswith("(99 % of resamplings, as the best of 5)")
    assert best.numbers["difference_low"] < alone.numbers["difference_low"]
    assert correct_for(1, PARAMS) == PARAMS


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


@pytest.mark.parametrize(("name", "value"), [("map50", "0.9"), ("map50_95", None), ("map50", True)])
def test_an_evaluation_whose_map_is_no_number_is_refused_by_name_and_place(tmp_path, name, value):
    for folder in ("challenger", "champion"):
        (tmp_path / folder).mkdir()
    metrics = {"version": "a" * 12, "map50": 0.5, "map50_95": 0.3, name: value}
    write_json(tmp_path / "challenger" / "metrics.json", metrics)
    write_json(tmp_path / "champion" / "metrics.json", {"champion": None})
    with pytest.raises(InvalidInput, match=rf"challenger/metrics\.json: {name} must be a number, got {value!r}"):
        decide(tmp_path / "challenger", tmp_path / "champion", tmp_path / "out", PARAMS)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "value"), [("floor", -0.1), ("margin", 1.0), ("confidence", 2.0), ("draws", 10)])
def test_params_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(InvalidInput, match=rf"gate\.{name}"):
        GateParams(**{**vars(PARAMS), name: value})

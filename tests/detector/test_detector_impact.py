"""What a change of detector means for recipes and allergens, on evaluations written by hand."""

import json

import numpy as np
import pytest

from hakka.detector.gate import GateParams, decide
from hakka.detector.impact import impact_sentence, recipe_impact

NAMES = ("tomato", "shrimp", "egg", "parsley")
THERE = [[0, 1], [0, 2], [3], []]


def _write(folder, version, found):
    """An evaluation of four photos, on which ``found`` were seen, all rightly."""
    folder.mkdir()
    truth = np.zeros((4, 4), int)
    for i, labels in enumerate(THERE):
        truth[i, labels] = 1
    image = np.repeat(np.arange(4), [len(labels) for labels in found])
    label = np.array([c for labels in found for c in labels], int)
    hit = np.repeat((truth[image, label] > 0)[:, None], 10, axis=1)
    np.savez(
        folder / "matches.npz",
        image=image,
        label=label,
        score=np.full(len(image), 0.9),
        hit=hit,
        truth=truth,
        size=np.zeros(len(image), int),
        truth_size=np.stack([truth, truth * 0, truth * 0], axis=2),
        images=np.array([f"{i:064x}" for i in range(4)]),
    )
    metrics = {"version": version, "map50": 0.5, "map50_95": 0.4, "confidence": 0.25, "per_class": dict.fromkeys(NAMES)}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "slices.json").write_text("{}")
    return folder


@pytest.fixture
def champion(tmp_path):
    return _write(tmp_path / "champion", "a" * 12, THERE)


def test_a_missed_shrimp_is_an_allergen_and_a_missed_parsley_is_not(tmp_path, champion):
    impact = recipe_impact(_write(tmp_path / "new", "b" * 12, [[0], [0, 2], [], []]), champion)
    assert impact["images"] == 3
    assert impact["challenger"]["missed_allergens"] == {"crustaceans": 1, "sulphites": 1}
    assert impact["champion"]["missed_allergens"] == {}
    assert impact["champion"]["right"] == 1.0 > impact["challenger"]["right"]
    assert impact["changed_images"] >= 1
    assert impact["changed"] > 0
    assert "crustaceans on 1" in impact_sentence(impact)


def test_the_same_findings_change_no_recipe(tmp_path, champion):
    impact = recipe_impact(_write(tmp_path / "new", "b" * 12, THERE), champion)
    assert (impact["changed"], impact["changed_images"]) == (0.0, 0)
    assert "not seen: none; 0.0 of 5 recipes change" in impact_sentence(impact)


def test_the_decision_holds_the_impact_also_without_a_champion(tmp_path, champion):
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "metrics.json").write_text('{"champion": null}')
    decide(champion, tmp_path / "none", tmp_path / "out", GateParams(0.1, 0.0, 0.95, 100, 0))
    impact = json.loads((tmp_path / "out" / "decision.json").read_text())["impact"]
    assert impact["challenger"]["right"] == 1.0
    assert "changed" not in impact

"""What a change of detector means at the table: other recipes, and allergens that were there and not seen."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hakka.detector.evaluate import Evaluation, read_evaluation
from hakka.errors import InvalidInput
from hakka.files import read_json
from hakka.recipes import Corpus, load_corpus, recognise, recommend

SHOWN = 5  # recipes that a cook looks at

Plate = Mapping[str, float]  # class name → confidence


@dataclass(frozen=True)
class _Meal:
    """What a plate is to a cook: ids of the best recipes for it, and the allergens that it holds."""

    recipes: frozenset[str]
    allergens: frozenset[str]


def recipe_impact(challenger: Path, champion: Path) -> dict[str, Any]:
    """What recipes and allergens are to two evaluation folders of the same test images.

    ``images``: photos with something on them. For each model ``right``: the share of the five best recipes for what
    truly is there that it recommends too, and ``missed_allergens``: allergen → photos on which something with it was
    there and nothing with it was found. With a champion also ``changed``: the mean number of the champion's five
    recipes that the challenger does not recommend, and ``changed_images``: the photos where that is any.

    Raises:
        InvalidInput: an evaluation cannot be read, or the two are of different images.
    """
    corpus = load_corpus()
    new, old = read_evaluation(challenger), read_evaluation(champion)
    if new is None:
        raise InvalidInput(f"{challenger}: the challenger's evaluation holds no model")
    plates, truth = _plates(challenger, new)
    there = [i for i, plate in enumerate(truth) if plate]
    wanted, found = ([_meal(part[i], corpus) for i in there] for part in (truth, plates))
    impact: dict[str, Any] = {"images": len(there), "challenger": _judge(found, wanted)}
    if old is None:
        return impact
    if new.images != old.images:
        raise InvalidInput("impact: challenger and champion must be evaluated on the same test images, they were not")
    plates, _ = _plates(champion, old)
    before = [_meal(plates[i], corpus) for i in there]
    changes = [len(one.recipes - other.recipes) for one, other in zip(before, found, strict=True)]
    return impact | {
        "champion": _judge(before, wanted),
        "changed": round(float(np.mean(changes)), 3) if changes else 0.0,
        "changed_images": sum(change > 0 for change in changes),
    }


def _plates(folder: Path, evaluation: Evaluation) -> tuple[list[Plate], list[Plate]]:
    """What was found on each image, at the model's confidence, and what is there."""
    metrics = read_json(folder / "metrics.json")
    names, matches = list(metrics["per_class"]), evaluation.matches
    found: list[dict[str, float]] = [{} for _ in evaluation.images]
    for i in np.flatnonzero(matches.score >= metrics["confidence"]):
        plate, name = found[int(matches.image[i])], names[int(matches.label[i])]
        plate[name] = max(plate.get(name, 0.0), float(matches.score[i]))
    truth = [{names[int(c)]: 1.0 for c in np.flatnonzero(row)} for row in matches.truth]
    return list(found), list(truth)


def _meal(plate: Plate, corpus: Corpus) -> _Meal:
    ids = recognise(plate, corpus).confidence
    return _Meal(
        recipes=frozenset(item.recipe.id for item in recommend(plate, corpus, limit=SHOWN)),
        allergens=frozenset(allergen for name in ids for allergen in corpus.ingredients[name].allergens),
    )


def _judge(found: list[_Meal], wanted: list[_Meal]) -> dict[str, Any]:
    pairs = list(zip(found, wanted, strict=True))
    right = [len(there.recipes & seen.recipes) / len(there.recipes) for seen, there in pairs if there.recipes]
    missed = Counter(allergen for seen, there in pairs for allergen in there.allergens - seen.allergens)
    return {
        "right": round(float(np.mean(right)), 3) if right else None,
        "missed_allergens": dict(sorted(missed.items())),
    }


def impact_sentence(impact: Mapping[str, Any]) -> str:
    """The impact in one sentence for a person."""
    missed = impact["challenger"]["missed_allergens"]
    allergens = ", ".join(f"{name} on {count}" for name, count in missed.items()) or "none"
    text = f"of {impact['images']} test photos, allergens that were there and not seen: {allergens}"
    if "changed" in impact:
        text += (
            f"; {impact['changed']:.1f} of {SHOWN} recipes change on average, on {impact['changed_images']} photos any"
        )
    return text

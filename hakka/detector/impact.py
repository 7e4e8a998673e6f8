"""What a change of detector means at the table: other recipes, and allergens that were there and not seen."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hakka.detector.evaluate import Evaluation, read_evaluation
from hakka.errors import InvalidInput
from hakka.files import read_json
from hakka.recipes import Corpus, load_corpus, recognise, recommend

SHOWN = 5  # recipes that a cook looks at

Plate = Mapping[str, float]  # class name → confidence


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
    found, truth = _plates(challenger, new)
    there = [i for i, plate in enumerate(truth) if plate]
    impact: dict[str, Any] = {"images": len(there), "challenger": _judge(found, truth, there, corpus)}
    if old is None:
        return impact
    if new.images != old.images:
        raise InvalidInput("impact: challenger and champion must be evaluated on the same test images, they were not")
    before, _ = _plates(champion, old)
    changes = [len(_recipes(before[i], corpus) - _recipes(found[i], corpus)) for i in there]
    return impact | {
        "champion": _judge(before, truth, there, corpus),
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


def _judge(found: list[Plate], truth: list[Plate], there: list[int], corpus: Corpus) -> dict[str, Any]:
    right: list[float] = []
    missed: Counter[str] = Counter()
    for i in there:
        wanted = _recipes(truth[i], corpus)
        if wanted:
            right.append(len(wanted & _recipes(found[i], corpus)) / len(wanted))
        missed.update(_allergens(truth[i], corpus) - _allergens(found[i], corpus))
    return {
        "right": round(float(np.mean(right)), 3) if right else None,
        "missed_allergens": dict(sorted(missed.items())),
    }


def _recipes(plate: Plate, corpus: Corpus) -> set[str]:
    return {item.recipe.id for item in recommend(plate, corpus, limit=SHOWN)}


def _allergens(plate: Plate, corpus: Corpus) -> set[str]:
    ids = recognise(plate, corpus).confidence
    return {allergen for name in ids for allergen in corpus.ingredients[name].allergens}


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

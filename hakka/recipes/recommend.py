"""What to cook with what is at hand.

The score of a recipe is the share of its needed ingredients that are at hand, each counted with the confidence it was
found with. Needed is what is neither optional nor in every pantry.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from hakka.errors import InvalidInput
from hakka.recipes.corpus import Corpus, Recipe
from hakka.recipes.diets import check_allergens, check_diet, recipe_allergens, recipe_diets
from hakka.recipes.ingredients import ALLERGENS
from hakka.recipes.names import plain_key

_UNSURE = 0.5  # below this confidence the cook is asked to look again


@dataclass(frozen=True)
class Recommendation:
    """A recipe that the cook may eat.

    ``score`` is 0–1. ``matched`` are the ids at hand, optional ones too, pantry ones not; ``missing`` the needed ids
    that are not at hand; ``reasons`` plain sentences.
    """

    recipe: Recipe
    score: float
    matched: tuple[str, ...]
    missing: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class AtHand:
    """Names given by a detector or a person: ids with the best confidence of each, and the names nobody knows."""

    confidence: Mapping[str, float]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class _Wishes:
    diet: str | None
    avoid: frozenset[str]
    cuisine: str | None
    leave_out: frozenset[str]


def find_ingredients(text: str, corpus: Corpus) -> tuple[str, ...]:
    """Ids of the ingredients that a text names, in order of first mention: "2 aubergines, sliced" is ``eggplant``."""
    return corpus.names.find(text)


def recognise(have: Mapping[str, float], corpus: Corpus) -> AtHand:
    """Ids of the names in ``have`` (aliases and plurals too), and the names that mean no or more than one ingredient.

    Raises:
        InvalidInput: a confidence is not a number from 0 to 1.
    """
    known: dict[str, float] = {}
    unknown: list[str] = []
    for name, confidence in have.items():
        sure = _check_confidence(name, confidence)
        found = _ids(name, corpus)
        if len(found) == 1:
            known[found[0]] = max(known.get(found[0], 0.0), sure)
        else:
            unknown.append(name)
    return AtHand({name: known[name] for name in sorted(known)}, tuple(sorted(unknown)))


def recommend(
    have: Mapping[str, float],
    corpus: Corpus,
    *,
    diet: str | None = None,
    avoid: Iterable[str] = (),
    cuisine: str | None = None,
    limit: int = 10,
    leave_out: Iterable[str] = (),
) -> list[Recommendation]:
    """The best recipes for what is at hand, best first, ties by id.

    A recipe that does not fit ``diet``, holds an allergen of ``avoid``, is of another ``cuisine`` (or family), or has
    none of its needed ingredients at hand is not returned. Optional ingredients count as part of a recipe unless they
    are named in ``leave_out``; a needed one cannot be left out. Names that nobody knows are ignored and said.

    Raises:
        InvalidInput: a diet, allergen, cuisine or ingredient to leave out is not known, a confidence is not 0–1, or
            ``limit`` is below 1.
    """
    if limit < 1:
        raise InvalidInput(f"limit must be at least 1, got {limit}")
    wishes = _Wishes(
        diet=check_diet(diet) if diet is not None else None,
        avoid=check_allergens(avoid),
        cuisine=_check_cuisine(cuisine, corpus) if cuisine is not None else None,
        leave_out=_check_leave_out(leave_out, corpus),
    )
    at_hand = recognise(have, corpus)
    found = [_judge(recipe, at_hand, corpus, wishes) for recipe in corpus.recipes if _allowed(recipe, corpus, wishes)]
    return sorted((item for item in found if item), key=lambda item: (-item.score, item.recipe.id))[:limit]


def _allowed(recipe: Recipe, corpus: Corpus, wishes: _Wishes) -> bool:
    return (
        wishes.cuisine in (None, recipe.cuisine, recipe.family)
        and wishes.avoid.isdisjoint(recipe_allergens(recipe, corpus, wishes.leave_out))
        and (wishes.diet is None or wishes.diet in recipe_diets(recipe, corpus, wishes.leave_out))
    )


def _judge(recipe: Recipe, at_hand: AtHand, corpus: Corpus, wishes: _Wishes) -> Recommendation | None:
    needed: list[str] = []
    optional: list[str] = []
    for line in recipe.ingredients:
        if not corpus.ingredients[line.ingredient].pantry:
            (optional if line.optional else needed).append(line.ingredient)
    got = [name for name in needed if at_hand.confidence.get(name, 0) > 0]
    if not got:
        return None
    extra = [name for name in optional if at_hand.confidence.get(name, 0) > 0 and name not in wishes.leave_out]
    missing = [name for name in needed if name not in got]
    score = math.fsum(at_hand.confidence[name] for name in got) / len(needed)
    reasons = _reasons(recipe, at_hand, corpus, wishes, got=got, extra=extra, missing=missing)
    # rounded, so that the order never hangs on the last bit of a float
    return Recommendation(recipe, round(score, 6), tuple(got + extra), tuple(missing), reasons)


def _reasons(
    recipe: Recipe,
    at_hand: AtHand,
    corpus: Corpus,
    wishes: _Wishes,
    *,
    got: list[str],
    extra: list[str],
    missing: list[str],
) -> tuple[str, ...]:
    def say(ids: Collection[str]) -> str:
        return _list([corpus.ingredients[name].name for name in ids])

    share = f"{len(got)} of {len(got) + len(missing)} main ingredients" if missing else "every main ingredient"
    reasons = [f"You have {share}: {say(got)}."]
    if extra:
        reasons.append(f"You also have {say(extra)}, which this dish can use.")
    if missing:
        reasons.append(f"You still need {say(missing)}.")
    if unsure := [name for name in got if at_hand.confidence[name] < _UNSURE]:
        reasons.append(f"Please check {say(unsure)}: the photo is not sure of it.")
    if left := [x.ingredient for x in recipe.ingredients if x.optional and x.ingredient in wishes.leave_out]:
        reasons.append(f"Made without {say(left)}, which is optional.")
    if wishes.diet:
        reasons.append(f"Fits the diet {wishes.diet.replace('_', '-')}.")
    if wishes.avoid:
        reasons.append(f"Its ingredients hold no {_list([a for a in ALLERGENS if a in wishes.avoid], 'or')}.")
    if at_hand.unknown:
        reasons.append(f"Ignored, since no recipe knows it: {_list(at_hand.unknown)}.")
    return tuple(reasons)


def _ids(name: str, corpus: Corpus) -> tuple[str, ...]:
    return (name,) if name in corpus.ingredients else find_ingredients(name, corpus)


def _check_confidence(name: str, value: Any) -> float:
    # Real, since a detector gives numpy floats
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise InvalidInput(f"confidence of {name} must be a number from 0 to 1, got {value!r}")
    return float(value)


def _check_cuisine(cuisine: str, corpus: Corpus) -> str:
    key = plain_key(cuisine)
    if key not in corpus.cuisines:
        raise InvalidInput(f"cuisine must be one of {', '.join(corpus.cuisines)}, got {cuisine!r}")
    return key


def _check_leave_out(names: Iterable[str], corpus: Corpus) -> frozenset[str]:
    wanted: set[str] = set()
    for name in [names] if isinstance(names, str) else names:
        found = _ids(name, corpus)
        if len(found) != 1:
            raise InvalidInput(f"an ingredient to leave out must be one that recipes know, got {name!r}")
        wanted.update(found)
    return frozenset(wanted)


def _list(words: Collection[str], last: str = "and") -> str:
    *head, tail = words
    return f"{', '.join(head)} {last} {tail}" if head else tail

"""Who may eat a recipe. Derived from its ingredients, never typed by hand.

A diet says what it goes without; an ingredient says what it is made from and which allergens it holds. ``halal`` here
means no pork, no alcohol and no animal rennet: other meat fits when it is bought halal. Optional ingredients count,
unless they are named in ``leave_out``.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from hakka.errors import InvalidInput
from hakka.recipes.corpus import Corpus, Recipe
from hakka.recipes.ingredients import ALLERGENS, Ingredient
from hakka.recipes.names import plain_key

_MEAT = frozenset({"poultry", "beef", "lamb", "pork", "rennet"})
_SEA = frozenset({"fish", "shellfish"})


@dataclass(frozen=True)
class Diet:
    """The origins and allergens that a diet goes without."""

    origins: frozenset[str] = frozenset()
    allergens: frozenset[str] = frozenset()


DIETS = {
    "vegetarian": Diet(_MEAT | _SEA),
    "vegan": Diet(_MEAT | _SEA | {"egg", "milk", "honey"}),
    "pescatarian": Diet(_MEAT),
    "halal": Diet(frozenset({"pork", "alcohol", "rennet"})),
    "gluten_free": Diet(allergens=frozenset({"gluten"})),
    "dairy_free": Diet(allergens=frozenset({"milk"})),
    "pork_free": Diet(frozenset({"pork"})),
    "beef_free": Diet(frozenset({"beef"})),
    "alcohol_free": Diet(frozenset({"alcohol"})),
}
# Other words that cooks use for the EU names.
_ALLERGEN_WORDS: Mapping[str, tuple[str, ...]] = {
    "wheat": ("gluten",),
    "crustacean": ("crustaceans",),
    "mollusc": ("molluscs",),
    "mollusk": ("molluscs",),
    "mollusks": ("molluscs",),
    "shellfish": ("crustaceans", "molluscs"),
    "shrimp": ("crustaceans",),
    "seafood": ("crustaceans", "fish", "molluscs"),
    "egg": ("eggs",),
    "peanut": ("peanuts",),
    "soy": ("soybeans",),
    "soya": ("soybeans",),
    "soybean": ("soybeans",),
    "dairy": ("milk",),
    "lactose": ("milk",),
    "nut": ("nuts",),
    "tree_nut": ("nuts",),
    "tree_nuts": ("nuts",),
    "sesame_seed": ("sesame",),
    "sesame_seeds": ("sesame",),
    "sulphite": ("sulphites",),
    "sulfite": ("sulphites",),
    "sulfites": ("sulphites",),
}


def ingredient_diets(ingredient: Ingredient) -> tuple[str, ...]:
    """The diets that an ingredient fits, in the order of ``DIETS``."""
    return tuple(
        name
        for name, diet in DIETS.items()
        if not diet.origins & ingredient.origins and not diet.allergens & ingredient.allergens
    )


def recipe_allergens(recipe: Recipe, corpus: Corpus, leave_out: Collection[str] = ()) -> tuple[str, ...]:
    """The EU 14 allergens that a recipe holds, in the order of ``ALLERGENS``."""
    held = {name for part in _parts(recipe, corpus, leave_out) for name in part.allergens}
    return tuple(name for name in ALLERGENS if name in held)


def recipe_diets(recipe: Recipe, corpus: Corpus, leave_out: Collection[str] = ()) -> tuple[str, ...]:
    """The diets that every ingredient of a recipe fits, in the order of ``DIETS``."""
    parts = [set(ingredient_diets(part)) for part in _parts(recipe, corpus, leave_out)]
    return tuple(name for name in DIETS if all(name in fits for fits in parts))


def check_diet(name: str) -> str:
    """The diet that a word means: "Gluten-free" is ``gluten_free``.

    Raises:
        InvalidInput: there is no such diet.
    """
    key = plain_key(name)
    if key not in DIETS:
        raise InvalidInput(f"diet must be one of {', '.join(DIETS)}, got {name!r}")
    return key


def check_allergens(names: Iterable[str]) -> frozenset[str]:
    """The EU 14 allergens that words mean: "shellfish" is crustaceans and molluscs. One string is one word.

    Raises:
        InvalidInput: a word is not known. It is never skipped: someone relies on it.
    """
    wanted: set[str] = set()
    for name in [names] if isinstance(names, str) else names:
        key = plain_key(name)
        if key not in ALLERGENS and key not in _ALLERGEN_WORDS:
            raise InvalidInput(f"allergens to avoid must be among {', '.join(ALLERGENS)}, got {name!r}")
        wanted.update(_ALLERGEN_WORDS.get(key, (key,)))
    return frozenset(wanted)


def _parts(recipe: Recipe, corpus: Corpus, leave_out: Collection[str]) -> list[Ingredient]:
    return [
        corpus.ingredients[line.ingredient]
        for line in recipe.ingredients
        if not (line.optional and line.ingredient in leave_out)
    ]

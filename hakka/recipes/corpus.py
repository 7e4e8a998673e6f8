"""The recipe corpus: frozen records, read from the YAML files of a folder and checked rule by rule."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hakka.errors import InvalidInput
from hakka.recipes import schema
from hakka.recipes.ingredients import Ingredient, read_ingredients
from hakka.recipes.names import NameIndex, build_index

CORPUS = Path(__file__).resolve().parent / "corpus"
INGREDIENTS_FILE = "ingredients.yaml"
# Each unit with the most that one serving can need of it: a slip of the pen (3 kg for 300 g) does not pass.
UNITS = {
    "g": 600,
    "kg": 0.6,
    "ml": 600,
    "l": 0.6,
    "tsp": 3,
    "tbsp": 4,
    "piece": 12,
    "clove": 5,
    "slice": 4,
    "sprig": 3,
    "handful": 1.5,
    "pinch": 1,
    "to_taste": 0,
}
_RECIPE_KEYS = ("id", "title", "servings", "minutes", "ingredients", "steps")


@dataclass(frozen=True)
class RecipeIngredient:
    """One line of a recipe. ``quantity`` is None exactly when ``unit`` is ``to_taste``."""

    ingredient: str
    quantity: float | None
    unit: str
    preparation: str
    optional: bool


@dataclass(frozen=True)
class Recipe:
    """One dish. ``family`` is the wider kitchen of ``cuisine`` (hakka is chinese), or the cuisine itself."""

    id: str
    title: str
    cuisine: str
    family: str
    servings: int
    minutes: int
    ingredients: tuple[RecipeIngredient, ...]
    steps: tuple[str, ...]


@dataclass(frozen=True)
class Corpus:
    """All recipes, sorted by id, and the table of their ingredients."""

    recipes: tuple[Recipe, ...]
    ingredients: Mapping[str, Ingredient]

    @cached_property
    def names(self) -> NameIndex:
        """The index from words to ingredient ids."""
        return build_index(self.ingredients.values())

    @property
    def cuisines(self) -> tuple[str, ...]:
        """Every cuisine and family that a recipe has, sorted."""
        return tuple(sorted({name for recipe in self.recipes for name in (recipe.cuisine, recipe.family)}))


def load_corpus(path: Path = CORPUS) -> Corpus:
    """The corpus of a folder: ``ingredients.yaml`` and one file of recipes a cuisine.

    Raises:
        InvalidInput: a file breaks a rule; the sentence names file, recipe and rule.
    """
    ingredients = read_ingredients(path / INGREDIENTS_FILE)
    recipes: dict[str, Recipe] = {}
    titles: dict[str, str] = {}
    for file in sorted(path.glob("*.yaml")):
        if file.name == INGREDIENTS_FILE:
            continue
        for recipe in _read_recipes(file, ingredients):
            place = f"{file.name}: recipe {recipe.id}"
            if recipe.id in recipes:
                raise InvalidInput(f"{place}: the id is used twice")
            other = titles.setdefault(recipe.title.casefold(), recipe.id)
            if other != recipe.id:
                raise InvalidInput(f"{place}: the title {recipe.title!r} also belongs to {other}")
            recipes[recipe.id] = recipe
    if not recipes:
        raise InvalidInput(f"{path}: must hold at least one recipe")
    corpus = Corpus(tuple(recipes[key] for key in sorted(recipes)), ingredients)
    _ = corpus.names  # two ingredients with one name are an error of the corpus, so it shows at load
    return corpus


def _read_recipes(file: Path, ingredients: Mapping[str, Ingredient]) -> list[Recipe]:
    content = schema.check_keys(schema.read_yaml(file), ("cuisine", "recipes"), ("family",), file.name)
    cuisine = schema.check_id(content["cuisine"], "cuisine", file.name)
    family = schema.check_id(content.get("family", cuisine), "family", file.name)
    if not isinstance(content["recipes"], list):
        raise InvalidInput(f"{file.name}: recipes must be a list, got {content['recipes']!r}")
    return [
        _recipe(entry, file.name, number, cuisine, family, ingredients)
        for number, entry in enumerate(content["recipes"], 1)
    ]


def _recipe(
    entry: Any, file: str, number: int, cuisine: str, family: str, ingredients: Mapping[str, Ingredient]
) -> Recipe:
    place = f"{file}: recipe {number}"
    if isinstance(entry, dict) and isinstance(entry.get("id"), str):
        place = f"{file}: recipe {entry['id']}"
    entry = schema.check_keys(entry, _RECIPE_KEYS, (), place)
    servings = schema.check_whole(entry["servings"], 24, "servings", place)
    recipe = Recipe(
        id=schema.check_id(entry["id"], "id", place),
        title=schema.check_text(entry["title"], "title", place),
        cuisine=cuisine,
        family=family,
        servings=servings,
        minutes=schema.check_whole(entry["minutes"], 24 * 60, "minutes", place),
        ingredients=_lines(entry["ingredients"], servings, ingredients, place),
        steps=schema.check_texts(entry["steps"], "steps", place),
    )
    if not recipe.steps:
        raise InvalidInput(f"{place}: steps must not be empty")
    return recipe


def _lines(
    entries: Any, servings: int, ingredients: Mapping[str, Ingredient], place: str
) -> tuple[RecipeIngredient, ...]:
    if not isinstance(entries, list):
        raise InvalidInput(f"{place}: ingredients must be a list, got {entries!r}")
    lines = tuple(_line(entry, servings, ingredients, place) for entry in entries)
    names = [line.ingredient for line in lines]
    for name in names:
        if names.count(name) > 1:
            raise InvalidInput(f"{place}: ingredient {name} is listed twice")
    if all(line.optional or ingredients[line.ingredient].pantry for line in lines):
        raise InvalidInput(f"{place}: ingredients must hold one that is neither optional nor of the pantry")
    return lines


def _line(entry: Any, servings: int, ingredients: Mapping[str, Ingredient], place: str) -> RecipeIngredient:
    required, optional = ("ingredient", "quantity", "unit"), ("preparation", "optional")
    entry = schema.check_keys(entry, required, optional, f"{place}: an ingredient")
    name = entry["ingredient"]
    if not isinstance(name, str) or name not in ingredients:
        raise InvalidInput(f"{place}: ingredient {name!r} is not in {INGREDIENTS_FILE}")
    unit = schema.check_choice(entry["unit"], UNITS, f"unit of {name}", place)
    quantity = entry["quantity"]
    if (quantity is None) != (unit == "to_taste"):
        raise InvalidInput(f"{place}: quantity of {name} must be null exactly when its unit is to_taste")
    if quantity is not None:
        quantity = schema.check_positive(quantity, UNITS[unit] * servings, f"quantity of {name} in {unit}", place)
    preparation = entry.get("preparation", "")
    if preparation:
        preparation = schema.check_text(preparation, f"preparation of {name}", place)
    flag = schema.check_flag(entry.get("optional", False), f"optional of {name}", place)
    return RecipeIngredient(name, quantity, unit, preparation, flag)

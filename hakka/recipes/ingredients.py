"""The ingredient table: what each ingredient is called, is made from, and whom it may harm."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hakka.errors import InvalidInput
from hakka.recipes import schema

# The 14 allergens of annex II of Regulation (EU) 1169/2011, in its order.
ALLERGENS = (
    "gluten",
    "crustaceans",
    "eggs",
    "fish",
    "peanuts",
    "soybeans",
    "milk",
    "nuts",
    "celery",
    "mustard",
    "sesame",
    "sulphites",
    "lupin",
    "molluscs",
)
# What a food can be made from besides plants. Rennet is from calves; alcohol also when it is cooked.
ORIGINS = ("egg", "milk", "honey", "fish", "shellfish", "poultry", "beef", "lamb", "pork", "rennet", "alcohol")
CATEGORIES = (
    "vegetable",
    "fungus",
    "fruit",
    "nut",
    "meat",
    "poultry",
    "fish",
    "seafood",
    "egg",
    "dairy",
    "legume",
    "herb",
    "grain",
    "condiment",
    "stock",
    "drink",
    "oil",
    "sweetener",
    "spice",
)
# A forgotten origin would make meat vegan, so a shelf demands one, and an origin demands its allergen.
_SHELF_ORIGINS = {
    "meat": {"beef", "lamb", "pork"},
    "poultry": {"poultry"},
    "fish": {"fish"},
    "seafood": {"shellfish"},
    "egg": {"egg"},
    "dairy": {"milk"},
}
_ORIGIN_ALLERGENS = {
    "egg": {"eggs"},
    "milk": {"milk"},
    "fish": {"fish"},
    "shellfish": {"crustaceans", "molluscs"},
}


@dataclass(frozen=True)
class Ingredient:
    """One row of the table.

    ``allergens`` are EU 14 names, ``origins`` what it is made from besides plants. ``pantry`` means that every kitchen
    is taken to have it. ``but_not`` are phrases that hold one of its names and mean something else.
    """

    id: str
    name: str
    category: str
    allergens: frozenset[str]
    origins: frozenset[str]
    pantry: bool
    aliases: tuple[str, ...]
    but_not: tuple[str, ...]


def read_ingredients(path: Path) -> dict[str, Ingredient]:
    """The table of a file, by id, in the file's order.

    Raises:
        InvalidInput: a row breaks a rule; the sentence names file, ingredient and rule.
    """
    rows = schema.read_yaml(path)
    if not isinstance(rows, list) or not rows:
        raise InvalidInput(f"{path.name}: must be a list of ingredients")
    table: dict[str, Ingredient] = {}
    for number, row in enumerate(rows, 1):
        ingredient = _ingredient(row, path.name, number)
        if ingredient.id in table:
            raise InvalidInput(f"{path.name}: ingredient {ingredient.id}: the id is used twice")
        table[ingredient.id] = ingredient
    return table


def _ingredient(row: Any, file: str, number: int) -> Ingredient:
    place = f"{file}: row {number}"
    optional = ("allergens", "origins", "pantry", "aliases", "but_not")
    row = schema.check_keys(row, ("id", "name", "category"), optional, place)
    name = schema.check_id(row["id"], "id", place)
    place = f"{file}: ingredient {name}"
    ingredient = Ingredient(
        id=name,
        name=schema.check_text(row["name"], "name", place),
        category=schema.check_choice(row["category"], CATEGORIES, "category", place),
        allergens=schema.check_choices(row.get("allergens", []), ALLERGENS, "allergens", place),
        origins=schema.check_choices(row.get("origins", []), ORIGINS, "origins", place),
        pantry=schema.check_flag(row.get("pantry", False), "pantry", place),
        aliases=schema.check_texts(row.get("aliases", []), "aliases", place),
        but_not=schema.check_texts(row.get("but_not", []), "but_not", place),
    )
    _check_sense(ingredient, place)
    return ingredient


def _check_sense(ingredient: Ingredient, place: str) -> None:
    wanted = _SHELF_ORIGINS.get(ingredient.category)
    if wanted and not wanted & ingredient.origins:
        raise InvalidInput(
            f"{place}: origins of the category {ingredient.category} must hold one of {', '.join(sorted(wanted))}"
        )
    for origin, allergens in _ORIGIN_ALLERGENS.items():
        if origin in ingredient.origins and not allergens & ingredient.allergens:
            raise InvalidInput(
                f"{place}: allergens must hold one of {', '.join(sorted(allergens))}, since it is made from {origin}"
            )

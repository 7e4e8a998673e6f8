"""A person who edits the corpus reads one sentence: file, recipe, rule."""

import pytest

from hakka.errors import InvalidInput
from hakka.recipes import load_corpus

TABLE = """
- {id: tomato, name: tomato, category: vegetable}
- {id: egg, name: egg, category: egg, allergens: [eggs], origins: [egg]}
- {id: salt, name: salt, category: spice, pantry: true}
"""
RECIPES = """
cuisine: chinese
recipes:
  - id: tomato_egg
    title: Tomato and egg
    servings: 2
    minutes: 15
    ingredients:
      - {ingredient: tomato, quantity: 4, unit: piece}
      - {ingredient: egg, quantity: 3, unit: piece, optional: true}
      - {ingredient: salt, quantity: null, unit: to_taste}
    steps: [Fry everything.]
"""
SECOND = RECIPES.replace("tomato_egg", "tomato_egg_again")


def write(folder, table=TABLE, **files):
    (folder / "ingredients.yaml").write_text(table, encoding="utf-8")
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def test_a_small_corpus_loads(tmp_path):
    corpus = load_corpus(write(tmp_path, chinese=RECIPES))

    (recipe,) = corpus.recipes
    assert (recipe.id, recipe.cuisine, recipe.family, recipe.servings) == ("tomato_egg", "chinese", "chinese", 2)
    assert [line.quantity for line in recipe.ingredients] == [4.0, 3.0, None]
    assert [line.optional for line in recipe.ingredients] == [False, True, False]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("unit: piece}", "unit: cup}", r"chinese.yaml: recipe tomato_egg: unit of tomato must be one of .*, got 'cup'"),
        ("quantity: 4", "quantity: 400", r"tomato_egg: quantity of tomato in piece must be .* at most 24, got 400"),
        ("quantity: 4", "quantity: -1", r"tomato_egg: quantity of tomato in piece must be a number above 0"),
        ("quantity: 4", "quantity: .nan", r"tomato_egg: quantity of tomato in piece must be a number above 0"),
        ("quantity: 4", "quantity: null", r"tomato_egg: quantity of tomato must be null exactly when .* to_taste"),
        ("quantity: null", "quantity: 3", r"tomato_egg: quantity of salt must be null exactly when .* to_taste"),
        ("ingredient: tomato", "ingredient: tomatoes", r"tomato_egg: ingredient 'tomatoes' is not in ingredients.yaml"),
        ("ingredient: egg", "ingredient: tomato", r"tomato_egg: ingredient tomato is listed twice"),
        ("optional: true", "optional: maybe", r"tomato_egg: optional of egg must be true or false, got 'maybe'"),
        ("unit: piece}", "unit: piece, optional: true}", r"tomato_egg: ingredients must hold one that is neither"),
        ("servings: 2", "servings: two", r"tomato_egg: servings must be a whole number from 1 to 24, got 'two'"),
        ("minutes: 15", "minutes: 0", r"tomato_egg: minutes must be a whole number from 1 to 1440, got 0"),
        ("    minutes: 15\n", "", r"tomato_egg: minutes is missing"),
        ("minutes: 15", "time: 15", r"tomato_egg: minutes is missing"),
        ("minutes: 15", "minutes: 15\n    vegan: true", r"tomato_egg: 'vegan' is not a key"),
        (
            "minutes: 15",
            "minutes: 15\n    minutes: 20",
            r"chinese.yaml: not valid YAML: a key must come once in a mapping, got 'minutes' again in line \d+",
        ),
        ("[Fry everything.]", "[]", r"tomato_egg: steps must not be empty"),
        ("[Fry everything.]", "Fry everything.", r"tomato_egg: steps must be a list"),
        ("id: tomato_egg", "id: Tomato Egg", r"chinese.yaml: recipe Tomato Egg: id must be snake_case"),
        ("id: tomato_egg", "id: 7", r"chinese.yaml: recipe 1: id must be snake_case, got 7"),
        ("cuisine: chinese\n", "", r"chinese.yaml: cuisine is missing"),
        ("recipes:", "recipes: [", r"chinese.yaml: not valid YAML"),
    ],
)
def test_a_broken_recipe_is_one_sentence(tmp_path, old, new, sentence):
    assert old in RECIPES

    with pytest.raises(InvalidInput, match=sentence) as caught:
        load_corpus(write(tmp_path, chinese=RECIPES.replace(old, new, 1)))

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("allergens: [eggs]", "allergens: [egg]", r"ingredients.yaml: ingredient egg: allergens must be one of"),
        ("allergens: [eggs], ", "", r"ingredient egg: allergens must hold one of eggs, since it is made from egg"),
        (", origins: [egg]", "", r"ingredient egg: origins of the category egg must hold one of egg"),
        ("id: salt", "id: egg", r"ingredient egg: the id is used twice"),
        ("name: salt", "name: Tomató", r"ingredient salt: the name 'Tomató' also belongs to tomato"),
        ("category: spice", "category: magic", r"ingredient salt: category must be one of .*, got 'magic'"),
        ("pantry: true", "pantry: often", r"ingredient salt: pantry must be true or false, got 'often'"),
        ("pantry: true", "vegan: true", r"ingredients.yaml: row 3: 'vegan' is not a key"),
    ],
)
def test_a_broken_ingredient_is_one_sentence(tmp_path, old, new, sentence):
    assert old in TABLE

    with pytest.raises(InvalidInput, match=sentence):
        load_corpus(write(tmp_path, TABLE.replace(old, new, 1), chinese=RECIPES))


def test_an_id_or_title_of_two_files_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match=r"second.yaml: recipe tomato_egg: the id is used twice"):
        load_corpus(write(tmp_path, first=RECIPES, second=RECIPES))
    with pytest.raises(InvalidInput, match=r"second.yaml: recipe tomato_egg_again: the title .* belongs to tomato_egg"):
        load_corpus(write(tmp_path, first=RECIPES, second=SECOND))


def test_a_folder_without_recipes_or_table_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match=r"ingredients.yaml: no such file"):
        load_corpus(tmp_path)
    with pytest.raises(InvalidInput, match="must hold at least one recipe"):
        load_corpus(write(tmp_path))

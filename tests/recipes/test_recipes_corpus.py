"""The corpus that ships with Hakka: what a cook and the detector may rely on."""

import math
import re
from collections import Counter

import pytest

from hakka.recipes import UNITS, find_ingredients, recipe_allergens

SAMPLE_CLASSES = (
    "almond",
    "apple",
    "avocado",
    "banana",
    "bell_pepper",
    "broccoli",
    "carrot",
    "cherry",
    "chili",
    "corn",
    "eggplant",
    "garlic",
    "ginger",
    "grape",
    "lemon",
    "lettuce",
    "lime",
    "mango",
    "mushroom",
    "mussel",
    "onion",
    "orange",
    "pear",
    "pineapple",
    "potato",
    "pumpkin",
    "shrimp",
    "strawberry",
    "sweet_potato",
    "tomato",
    "walnut",
)


def test_has_enough_recipes_and_a_third_are_chinese(corpus):
    chinese = [recipe for recipe in corpus.recipes if recipe.family == "chinese"]
    hakka = [recipe for recipe in corpus.recipes if recipe.cuisine == "hakka"]

    assert len(corpus.recipes) >= 62
    assert len(chinese) * 3 >= len(corpus.recipes)
    assert len(hakka) >= 10
    assert {"hakka_stuffed_tofu", "salt_baked_chicken", "lei_cha", "abacus_seeds"} <= {recipe.id for recipe in hakka}


def test_ids_and_titles_are_unique(corpus):
    assert len({recipe.id for recipe in corpus.recipes}) == len(corpus.recipes)
    assert len({recipe.title.casefold() for recipe in corpus.recipes}) == len(corpus.recipes)


@pytest.mark.parametrize("name", SAMPLE_CLASSES)
def test_every_class_of_the_sample_is_cooked_in_three_recipes(corpus, name):
    needed = [
        recipe.id
        for recipe in corpus.recipes
        if any(line.ingredient == name and not line.optional for line in recipe.ingredients)
    ]

    assert len(needed) >= 3


def test_most_recipes_use_two_classes_or_more(corpus):
    classes = [len(set(SAMPLE_CLASSES) & {line.ingredient for line in recipe.ingredients}) for recipe in corpus.recipes]

    assert sum(count >= 2 for count in classes) >= 0.9 * len(classes)


def test_every_ingredient_of_the_table_is_used(corpus):
    used = {line.ingredient for recipe in corpus.recipes for line in recipe.ingredients}

    assert used == set(corpus.ingredients)


def test_quantities_are_plausible(corpus):
    for recipe in corpus.recipes:
        for line in recipe.ingredients:
            assert line.unit in UNITS
            assert (line.quantity is None) == (line.unit == "to_taste")
            if line.quantity is not None:
                assert 0 < line.quantity <= UNITS[line.unit] * recipe.servings, (recipe.id, line)


def test_a_serving_is_neither_a_bite_nor_a_bucket(corpus):
    grams = {"g": 1.0, "ml": 1.0, "tbsp": 15.0, "tsp": 5.0, "piece": 60.0, "clove": 4.0, "slice": 30.0}
    not_eaten = {"water", "salt", "vegetable_oil"}  # boiled away, baked around, fried in
    for recipe in corpus.recipes:
        total = math.fsum(
            grams.get(line.unit, 0.0) * (line.quantity or 0.0)
            for line in recipe.ingredients
            if line.ingredient not in not_eaten
        )
        assert 60 <= total / recipe.servings <= 1000, (recipe.id, total / recipe.servings)


def test_steps_name_every_ingredient_and_no_other(corpus):
    """An ingredient that only the steps name would be hidden from the allergens."""
    for recipe in corpus.recipes:
        listed = {line.ingredient for line in recipe.ingredients}
        said = set(find_ingredients(". ".join(recipe.steps), corpus))
        prepared = {name for line in recipe.ingredients for name in find_ingredients(line.preparation, corpus)}

        assert listed <= said, (recipe.id, "never used", listed - said)
        assert said - {"water"} <= listed, (recipe.id, "not listed", said - listed)
        assert prepared - {"water"} <= listed, (recipe.id, "not listed", prepared - listed)


def test_steps_are_sentences(corpus):
    for recipe in corpus.recipes:
        assert len(recipe.steps) >= 2, recipe.id
        for step in recipe.steps:
            assert re.match(r"[A-Z].*\.$", step), (recipe.id, step)


def test_mussel_recipes_say_which_mussels_not_to_eat(corpus):
    for recipe in corpus.recipes:
        if any(line.ingredient == "mussel" for line in recipe.ingredients):
            text = " ".join(recipe.steps)
            assert "stays open when tapped" in text, recipe.id
            assert "stay shut" in text or "has not opened" in text, recipe.id


def test_the_allergens_of_the_corpus_are_spread(corpus):
    """No recipe uses lupin; each of the other 13 can be met, so each filter does something."""
    met = Counter(name for recipe in corpus.recipes for name in recipe_allergens(recipe, corpus))

    assert len(met) == 13
    assert "lupin" not in met

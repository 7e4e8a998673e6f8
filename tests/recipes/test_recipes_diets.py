"""Allergens and diets follow from ingredients. The tables are written from the EU list, not from the code."""

import pytest

from hakka.errors import InvalidInput
from hakka.recipes import DIETS, ingredient_diets, recipe_allergens, recipe_diets
from hakka.recipes.diets import check_allergens, check_diet


def recipe(corpus, name):
    return next(item for item in corpus.recipes if item.id == name)


@pytest.mark.parametrize(
    ("name", "allergens"),
    [
        ("soy_sauce", {"gluten", "soybeans"}),
        ("oyster_sauce", {"gluten", "soybeans", "molluscs"}),
        ("fish_sauce", {"fish"}),
        ("red_curry_paste", {"crustaceans", "fish"}),
        ("shaoxing_wine", {"gluten"}),
        ("black_vinegar", {"gluten"}),
        ("rice_vinegar", set()),
        ("chicken_stock", {"celery", "gluten"}),
        ("vegetable_stock", {"celery", "gluten"}),
        ("egg_noodles", {"gluten", "eggs"}),
        ("glass_noodles", set()),
        ("dumpling_wrapper", {"gluten"}),
        ("oats", {"gluten"}),
        ("tofu", {"soybeans"}),
        ("sesame_oil", {"sesame"}),
        ("tahini", {"sesame"}),
        ("mayonnaise", {"eggs", "mustard"}),
        ("preserved_mustard_greens", {"mustard", "sulphites"}),
        ("white_wine", {"sulphites"}),
        ("peanut", {"peanuts"}),
        ("almond", {"nuts"}),
        ("walnut", {"nuts"}),
        ("shrimp", {"crustaceans", "sulphites"}),
        ("mussel", {"molluscs"}),
        ("squid", {"molluscs"}),
        ("butter", {"milk"}),
        ("coconut_milk", {"sulphites"}),
        ("tomato", set()),
    ],
)
def test_allergens_of_an_ingredient(corpus, name, allergens):
    assert corpus.ingredients[name].allergens == allergens


@pytest.mark.parametrize(
    ("name", "unfit"),
    [
        ("tomato", set()),
        ("honey", {"vegan"}),
        ("egg_noodles", {"vegan", "gluten_free"}),
        ("butter", {"vegan", "dairy_free"}),
        ("parmesan", {"vegetarian", "vegan", "pescatarian", "halal", "dairy_free"}),
        ("shaoxing_wine", {"halal", "alcohol_free", "gluten_free"}),
        ("vanilla_extract", {"halal", "alcohol_free"}),
        ("soy_sauce", {"gluten_free"}),
        ("oyster_sauce", {"vegetarian", "vegan", "gluten_free"}),
        ("fish_sauce", {"vegetarian", "vegan"}),
        ("chicken_stock", {"vegetarian", "vegan", "pescatarian", "gluten_free"}),
        ("chicken", {"vegetarian", "vegan", "pescatarian"}),
        ("pork", {"vegetarian", "vegan", "pescatarian", "halal", "pork_free"}),
        ("beef", {"vegetarian", "vegan", "pescatarian", "beef_free"}),
        ("mussel", {"vegetarian", "vegan"}),
    ],
)
def test_diets_that_an_ingredient_does_not_fit(corpus, name, unfit):
    assert set(DIETS) - set(ingredient_diets(corpus.ingredients[name])) == unfit


@pytest.mark.parametrize(
    ("name", "allergens"),
    [
        ("guacamole", ()),
        ("garlic_broccoli", ()),
        ("tomato_and_egg", ("eggs",)),
        ("hakka_stuffed_tofu", ("gluten", "crustaceans", "soybeans", "sulphites", "molluscs")),
        ("lei_cha", ("gluten", "peanuts", "soybeans", "sesame", "sulphites")),
        ("kung_pao_chicken", ("gluten", "peanuts", "soybeans")),
        ("waldorf_salad", ("eggs", "nuts", "celery", "mustard")),
        ("onion_soup", ("gluten", "milk", "celery", "sulphites")),
        ("thai_pumpkin_curry", ("crustaceans", "fish", "soybeans", "sulphites")),
    ],
)
def test_allergens_of_a_recipe(corpus, name, allergens):
    assert recipe_allergens(recipe(corpus, name), corpus) == allergens


def test_optional_ingredients_count_unless_left_out(corpus):
    cups = recipe(corpus, "chicken_lettuce_cups")
    mapo = recipe(corpus, "mapo_tofu")

    assert "nuts" in recipe_allergens(cups, corpus)
    assert "nuts" not in recipe_allergens(cups, corpus, leave_out={"walnut"})
    assert "vegan" not in recipe_diets(mapo, corpus)
    assert "vegan" in recipe_diets(mapo, corpus, leave_out={"beef"})


def test_a_needed_ingredient_cannot_be_left_out(corpus):
    assert "peanuts" in recipe_allergens(recipe(corpus, "kung_pao_chicken"), corpus, leave_out={"peanut"})


def test_the_diets_nest(corpus):
    for item in corpus.recipes:
        diets = set(recipe_diets(item, corpus))
        if "vegan" in diets:
            assert {"vegetarian", "dairy_free"} <= diets, item.id
            assert not {"milk", "eggs", "fish", "crustaceans", "molluscs"} & set(recipe_allergens(item, corpus)), (
                item.id
            )
        if "vegetarian" in diets:
            assert {"pescatarian", "pork_free", "beef_free"} <= diets, item.id
        if "halal" in diets:
            assert {"pork_free", "alcohol_free"} <= diets, item.id


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["peanut"], {"peanuts"}),
        (["Tree nuts", "soy"], {"nuts", "soybeans"}),
        (["shellfish"], {"crustaceans", "molluscs"}),
        (["dairy", "EGG"], {"milk", "eggs"}),
        ("peanuts", {"peanuts"}),
        ([], set()),
    ],
)
def test_words_for_allergens(words, names):
    assert check_allergens(words) == names


def test_an_unknown_allergen_or_diet_is_never_skipped():
    with pytest.raises(InvalidInput, match=r"allergens to avoid must be among gluten, .*, got 'penuts'"):
        check_allergens(["milk", "penuts"])
    with pytest.raises(InvalidInput, match=r"diet must be one of vegetarian, .*, got 'paleo'"):
        check_diet("paleo")
    assert check_diet("Gluten-free") == "gluten_free"

"""What a cook notices."""

import numpy as np
import pytest

from hakka.errors import InvalidInput
from hakka.recipes import (
    Corpus,
    Ingredient,
    Recipe,
    RecipeIngredient,
    recipe_allergens,
    recipe_diets,
    recognise,
    recommend,
)

EVERYTHING = 500  # a limit above the size of the corpus


def all_at_hand(corpus):
    return dict.fromkeys(corpus.ingredients, 1.0)


def ids(found):
    return [item.recipe.id for item in found]


def test_a_full_kitchen_can_cook_everything(corpus):
    found = recommend(all_at_hand(corpus), corpus, limit=EVERYTHING)

    assert ids(found) == [recipe.id for recipe in corpus.recipes]  # all score 1, so ties go by id
    assert {item.score for item in found} == {1.0}
    assert all(item.missing == () for item in found)


def test_tomatoes_and_eggs_make_tomato_and_egg(corpus):
    best = recommend({"tomato": 0.9, "egg": 1.0, "spring_onion": 1.0, "garlic": 0.8}, corpus)[0]

    assert best.recipe.id == "tomato_and_egg"
    assert best.score == pytest.approx((0.9 + 1.0 + 1.0 + 0.8) / 4)
    assert set(best.matched) == {"tomato", "egg", "spring_onion", "garlic"}
    assert best.missing == ()
    assert best.reasons[0] == "You have every main ingredient: tomato, egg, spring onion and garlic."


def test_what_is_missing_is_said_and_the_pantry_is_not(corpus):
    found = {item.recipe.id: item for item in recommend({"tomato": 0.9, "garlic": 0.8}, corpus, limit=EVERYTHING)}
    item = found["tomato_and_egg"]

    assert item.missing == ("egg", "spring_onion")  # no sugar, salt, oil
    assert "You still need egg and spring onion." in item.reasons
    assert item.reasons[0] == "You have 2 of 4 main ingredients: tomato and garlic."


def test_a_surer_photo_ranks_higher(corpus):
    sure = {item.recipe.id: item.score for item in recommend({"mango": 0.9}, corpus, limit=EVERYTHING)}
    unsure = {item.recipe.id: item for item in recommend({"mango": 0.3}, corpus, limit=EVERYTHING)}

    assert set(sure) == set(unsure)
    assert all(sure[name] > unsure[name].score for name in sure)
    assert "Please check mango: the photo is not sure of it." in unsure["mango_lassi"].reasons


def test_optional_ingredients_do_not_lower_the_score(corpus):
    have = {"pear": 1.0}
    without = next(item for item in recommend(have, corpus) if item.recipe.id == "steamed_pear")
    with_it = next(item for item in recommend({**have, "ginger": 1.0}, corpus) if item.recipe.id == "steamed_pear")

    assert without.score == with_it.score == 1.0
    assert "ginger" not in without.missing
    assert with_it.matched == ("pear", "ginger")
    assert "You also have ginger, which this dish can use." in with_it.reasons


@pytest.mark.parametrize("allergen", ["gluten", "crustaceans", "eggs", "peanuts", "milk", "nuts", "molluscs", "sesame"])
def test_an_allergen_never_comes_back(corpus, allergen):
    found = recommend(all_at_hand(corpus), corpus, avoid=[allergen], limit=EVERYTHING)
    left = {recipe.id for recipe in corpus.recipes if allergen not in recipe_allergens(recipe, corpus)}

    assert set(ids(found)) == left
    assert 0 < len(found) < len(corpus.recipes)


def test_a_peanut_allergy_hides_kung_pao_and_every_dish_with_peanuts(corpus):
    found = recommend(all_at_hand(corpus), corpus, avoid=["peanuts"], limit=EVERYTHING)

    assert not {"kung_pao_chicken", "lei_cha", "sweet_potato_ban", "grape_shrimp_salad"} & set(ids(found))
    assert not any(line.ingredient == "peanut" for item in found for line in item.recipe.ingredients)
    assert all("Its ingredients hold no peanuts." in item.reasons for item in found)


def test_vegan_holds_nothing_of_an_animal(corpus):
    found = recommend(all_at_hand(corpus), corpus, diet="vegan", limit=EVERYTHING)
    animal = {
        "egg",
        "milk",
        "butter",
        "honey",
        "chicken",
        "pork",
        "beef",
        "shrimp",
        "oyster_sauce",
        "fish_sauce",
        "feta",
    }

    assert len(found) >= 20
    assert not animal & {line.ingredient for item in found for line in item.recipe.ingredients}
    assert all("vegan" in recipe_diets(item.recipe, corpus) for item in found)
    assert all("Fits the diet vegan." in item.reasons for item in found)


def test_halal_holds_no_pork_and_no_wine(corpus):
    found = recommend(all_at_hand(corpus), corpus, diet="halal", limit=EVERYTHING)

    used = {line.ingredient for item in found for line in item.recipe.ingredients}
    assert not {"pork", "shaoxing_wine", "white_wine", "hakka_rice_wine", "vanilla_extract"} & used
    assert "chicken" in used


def test_leaving_out_the_walnuts_opens_a_dish(corpus):
    have = {"lettuce": 0.9, "chicken": 1.0, "mushroom": 0.8, "carrot": 0.9, "garlic": 0.9, "ginger": 0.9, "walnut": 0.9}
    strict = recommend(have, corpus, avoid=["nuts"], limit=EVERYTHING)
    relaxed = recommend(have, corpus, avoid=["nuts"], leave_out=["walnuts"], limit=EVERYTHING)

    assert "chicken_lettuce_cups" not in ids(strict)
    item = next(item for item in relaxed if item.recipe.id == "chicken_lettuce_cups")
    assert "Made without walnut, which is optional." in item.reasons
    assert "walnut" not in item.matched
    assert "waldorf_salad" not in ids(relaxed)  # its walnuts are not optional


def test_unknown_names_are_ignored_and_said(corpus):
    plain = recommend({"tomato": 0.9}, corpus)
    odd = recommend({"tomato": 0.9, "dragonfruit": 0.99, "tomato or corn": 0.9}, corpus)

    assert [(item.recipe.id, item.score) for item in plain] == [(item.recipe.id, item.score) for item in odd]
    assert all("Ignored, since no recipe knows it: dragonfruit and tomato or corn." in item.reasons for item in odd)
    assert recognise({"dragonfruit": 0.99}, corpus).unknown == ("dragonfruit",)
    assert recommend({"dragonfruit": 0.99}, corpus) == []


def test_aliases_are_the_same_ingredient_and_the_surest_wins(corpus):
    at_hand = recognise({"Aubergines": 0.4, "eggplant": 0.7, "red bell pepper": 0.5, "egg plant": 0.6}, corpus)

    assert at_hand.confidence == {"bell_pepper": 0.5, "eggplant": 0.7}
    assert at_hand.unknown == ()


def test_a_cuisine_is_a_filter_and_chinese_holds_hakka(corpus):
    have = all_at_hand(corpus)
    hakka = recommend(have, corpus, cuisine="Hakka", limit=EVERYTHING)
    chinese = recommend(have, corpus, cuisine="chinese", limit=EVERYTHING)

    assert {item.recipe.cuisine for item in hakka} == {"hakka"}
    assert set(ids(hakka)) < set(ids(chinese))
    assert {item.recipe.cuisine for item in chinese} == {"hakka", "cantonese", "sichuan", "chinese"}


def test_nothing_at_hand_is_nothing_to_cook(corpus):
    assert recommend({}, corpus) == []
    assert recommend({"salt": 1.0, "water": 1.0}, corpus) == []  # the pantry alone is no dish
    assert recommend({"tomato": 0.0}, corpus) == []


def test_the_order_does_not_depend_on_the_order_of_the_photo(corpus):
    have = {"tomato": 0.7, "onion": 0.6, "garlic": 0.9, "potato": 0.31, "carrot": 0.1}
    backwards = dict(reversed(have.items()))

    assert recommend(have, corpus, limit=EVERYTHING) == recommend(backwards, corpus, limit=EVERYTHING)
    assert recommend(have, corpus, limit=3) == recommend(have, corpus, limit=EVERYTHING)[:3]


def test_the_score_on_a_corpus_small_enough_to_count_by_hand():
    def ingredient(name, pantry=False):
        return Ingredient(name, name, "vegetable", frozenset(), frozenset(), pantry, (), ())

    def dish(name, *needed):
        lines = tuple(RecipeIngredient(item, 1.0, "piece", "", optional=False) for item in needed)
        return Recipe(name, name, "test", "test", 2, 10, lines, ("Cook.",))

    table = {name: ingredient(name) for name in ("leek", "beet", "kale")} | {"salt": ingredient("salt", pantry=True)}
    corpus = Corpus((dish("b", "leek", "salt"), dish("c", "leek", "kale"), dish("a", "leek", "salt")), table)

    found = recommend({"leek": 0.8, "beet": 1.0}, corpus)

    assert [(item.recipe.id, item.score) for item in found] == [("a", 0.8), ("b", 0.8), ("c", 0.4)]


def test_numpy_confidences_of_a_detector_are_numbers(corpus):
    best = recommend({"mango": np.float32(0.5)}, corpus)[0]

    assert (best.recipe.id, best.score) == ("mango_sticky_rice", 0.5)  # rice and coconut milk are of the pantry


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"diet": "paleo"}, "diet must be one of"),
        ({"avoid": ["penuts"]}, "allergens to avoid must be among"),
        ({"cuisine": "martian"}, "cuisine must be one of .*hakka.*, got 'martian'"),
        ({"leave_out": ["stardust"]}, "leave out must be one that recipes know, got 'stardust'"),
        ({"limit": 0}, "limit must be at least 1, got 0"),
        ({"have": {"tomato": 1.2}}, "confidence of tomato must be a number from 0 to 1, got 1.2"),
        ({"have": {"tomato": float("nan")}}, "confidence of tomato must be a number"),
        ({"have": {"tomato": "high"}}, "confidence of tomato must be a number from 0 to 1, got 'high'"),
    ],
)
def test_a_wrong_wish_is_one_sentence(corpus, arguments, sentence):
    have = arguments.pop("have", {"tomato": 0.9})

    with pytest.raises(InvalidInput, match=sentence):
        recommend(have, corpus, **arguments)

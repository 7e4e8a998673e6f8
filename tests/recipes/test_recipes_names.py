"""Words to ingredient ids, on small tables and on real recipe lines."""

import json
import re
from pathlib import Path

import pytest

from hakka.recipes import find_ingredients

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "recipes" / "recipes_en.jsonl"


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("bell pepper", ("bell_pepper",)),
        ("Bell-Peppers", ("bell_pepper",)),
        ("sweet_potato", ("sweet_potato",)),
        ("2 sweet potatoes", ("sweet_potato",)),
        ("aubergine", ("eggplant",)),
        ("courgettes", ("courgette",)),
        ("jalapeño", ("chili",)),
        ("jalapen\u0303o", ("chili",)),
        ("prawns", ("shrimp",)),
        ("cherries", ("cherry",)),
        ("a handful of cherry tomatoes", ("tomato",)),
        ("sweetcorn", ("corn",)),
        ("juice of 1 lemon", ("lemon",)),
        ("scallions, garlic and ginger", ("spring_onion", "garlic", "ginger")),
        ("garlic, salt", ("garlic", "salt")),
        ("garlic salt", ()),
        ("apple cider vinegar", ()),
        ("tomato paste", ()),
        ("garlic powder", ()),
        ("corn starch", ("cornstarch",)),
        ("lemon grass", ("lemongrass",)),
        ("peanut oil", ()),
        ("almond milk", ()),
        ("black pepper", ("black_pepper",)),
        ("eggplant", ("eggplant",)),
        ("grapefruit", ()),
        ("pineapple", ("pineapple",)),
        ("", ()),
        ("12 ½ 茄子", ()),
    ],
)
def test_find_ingredients(corpus, text, ids):
    assert find_ingredients(text, corpus) == ids


def test_every_id_and_name_finds_itself(corpus):
    for ingredient in corpus.ingredients.values():
        for phrase in (ingredient.id, ingredient.name, ingredient.name.upper(), *ingredient.aliases):
            assert find_ingredients(phrase, corpus) == (ingredient.id,), phrase


# Lines of public-domain recipes (github.com/ronaldl29/public-domain-recipes, Unlicense), labelled by hand.
REAL_LINES = {
    "1 Tbsp Smoked Paprika-Garlic Blend": {"garlic"},
    "1 large Sweet Potato, peeled and cut into half-inch chunks": {"sweet_potato"},
    "1 scotch bonnet chili": {"chili"},
    "1/2 each Green, Red, and Yellow Bell Pepper, thinly sliced": {"bell_pepper"},
    "1/4 tsp red pepper flakes": set(),
    "2 small Sweet Peppers, chopped": {"bell_pepper"},
    "2 yellow peppers per person": {"bell_pepper"},
    "1 Tbsp Pepper": set(),
    "2-3 champignon mushrooms (optional)": {"mushroom"},
    "3 aubergines (900g)": {"eggplant"},
    "3-4 green onions": set(),
    "4 Tbsp Sweet Chili Sauce": set(),
    "4 kaffir lime leaves": set(),
    "250g potato starch or cornstarch": set(),
    "500g of cherry tomatoes (preferably mixed species)": {"tomato"},
    "A few salad leaves (or practically any veggie you have in the fridge)": {"lettuce"},
    "Garlic cloves 3, minced/crushed": {"garlic"},
    "Juice from 1 lime": {"lime"},
    "One large orange, of a deep colour, and smooth thin rind.": {"orange"},
    "Sichuan peppercorn, 1 tsp": set(),
    "Tomatos, chopped": {"tomato"},
    "a jar of apple sauce": set(),
    "onion or garlic (optional)": {"onion", "garlic"},
    "1lb uncoocked peeled shrimp": {"shrimp"},
    "1 shot of kirsch (cherry brandy)": set(),
}


@pytest.mark.parametrize(("line", "classes"), REAL_LINES.items())
def test_real_lines_labelled_by_hand(corpus, line, classes):
    fresh = {"vegetable", "fungus", "fruit", "nut", "seafood"}
    found = {name for name in find_ingredients(line, corpus) if corpus.ingredients[name].category in fresh}

    assert found - {"spring_onion"} == classes


# The rough judge of the next test: a class name as a whole word, and no word of what is made from it.
CLASS_WORDS = {
    "almond": r"almonds?",
    "apple": r"apples?",
    "avocado": r"avocado(e?s)?",
    "banana": r"bananas?",
    "bell_pepper": r"bell peppers?",
    "broccoli": r"broccoli",
    "carrot": r"carrots?",
    "garlic": r"garlic",
    "ginger": r"ginger",
    "lemon": r"lemons?",
    "lime": r"limes?",
    "mushroom": r"mushrooms?",
    "onion": r"onions?",
    "orange": r"oranges?",
    "potato": r"potato(e?s)?",
    "pumpkin": r"pumpkins?",
    "shrimp": r"shrimps?",
    "strawberry": r"strawberr(y|ies)",
    "tomato": r"tomato(e?s)?",
    "walnut": r"walnuts?",
}
PRODUCTS = re.compile(
    r"paste|powder|sauce|pur[eé]e|soup|salt|vinegar|starch|leaves|seeds|granulated|ground|stock|syrup"
    r"|sweet potato|(green|spring) onion",
    re.IGNORECASE,
)


@pytest.mark.skipif(
    not SHARED.is_file(), reason="the shared real recipes (shared/data/recipes) are not beside the repo"
)
def test_real_recipe_lines_are_recognised(corpus):
    lines = [
        line
        for row in SHARED.read_text(encoding="utf-8").splitlines()
        for line in json.loads(row)["ingredients"]
        if not PRODUCTS.search(line)
    ]
    named = [
        (line, name)
        for line in lines
        for name, words in CLASS_WORDS.items()
        if re.search(rf"\b{words}\b", line, re.IGNORECASE)
    ]
    recognised = [(line, name) for line, name in named if name in find_ingredients(line, corpus)]

    assert len(named) >= 400
    assert len(recognised) >= 0.98 * len(named), sorted(set(named) - set(recognised))

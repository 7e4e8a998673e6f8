"""Recipes for what the cook has, wants and may eat."""

from collections.abc import Iterable, Mapping, Sequence

import streamlit as st

from app.text import plain, spoken
from hakka.recipes import (
    ALLERGENS,
    DIETS,
    Corpus,
    Recipe,
    RecipeIngredient,
    Recommendation,
    load_corpus,
    recognise,
    recommend,
)

RECIPES_SHOWN = 10


@st.cache_resource(show_spinner=False)
def shared_corpus() -> Corpus:
    """The recipes that come with Hakka, read once for all sessions."""
    return load_corpus()


def show_recipes(seen: Mapping[str, float]) -> None:
    """Ask for additions, diet and allergens, and show the best recipes for all of it."""
    corpus = shared_corpus()
    st.subheader("What you can cook")
    more, diet, avoid = st.columns([2, 1, 1], gap="medium")
    with more:
        added = _ask_additions(corpus)
    wanted = diet.selectbox("Diet", list(DIETS), index=None, format_func=spoken, placeholder="Any", key="diet")
    allergens = avoid.multiselect("Leave out allergens", ALLERGENS, format_func=spoken, placeholder="None", key="avoid")
    at_hand = recognise({**seen, **dict.fromkeys(added, 1.0)}, corpus)
    if at_hand.unknown:
        st.caption(f"No recipe knows {plain(', '.join(spoken(name) for name in at_hand.unknown))}.")
    if not at_hand.confidence:
        st.info("Give a photo or add an ingredient, and recipes appear here.", icon=":material/skillet:")
        return
    found = recommend(at_hand.confidence, corpus, diet=wanted, avoid=allergens, limit=RECIPES_SHOWN)
    if not found:
        st.info("No recipe fits all of this. Add an ingredient, or choose less to leave out.")
    _show_cards(found, corpus)


def describe_line(line: RecipeIngredient, corpus: Corpus) -> str:
    """One line of a recipe as a person reads it: ``Garlic, 2 cloves: chopped (optional)``."""
    name = spoken(corpus.ingredients[line.ingredient].name)
    amount = f"{name}, {_amount(line)}"
    prepared = f"{amount}: {line.preparation}" if line.preparation else amount
    return f"{prepared} (optional)" if line.optional else prepared


def _amount(line: RecipeIngredient) -> str:
    if line.quantity is None:
        return "to taste"
    number = f"{line.quantity:g}"
    if line.unit == "piece":
        return number
    several = line.quantity > 1 and line.unit in ("clove", "slice", "sprig", "handful", "pinch")
    plural = "pinches" if line.unit == "pinch" else f"{line.unit}s"
    return f"{number} {plural if several else line.unit}"


def _ask_additions(corpus: Corpus) -> list[str]:
    """Ids that the cook adds; what every pantry holds is not offered, since no recipe waits for it."""
    offered = [item for item in corpus.ingredients.values() if not item.pantry]
    return st.multiselect(
        "Add what the photo does not show",
        [item.id for item in sorted(offered, key=lambda item: item.name)],
        format_func=lambda name: spoken(corpus.ingredients[name].name),
        placeholder="Eggs, rice, chicken …",
        key="added",
    )


def _show_cards(found: Sequence[Recommendation], corpus: Corpus) -> None:
    """Two cards a row, best first, read from left to right."""
    for start in range(0, len(found), 2):
        for column, item in zip(st.columns(2, gap="medium"), found[start : start + 2], strict=False):
            with column.container(border=True, gap="xsmall", key=f"recipe {item.recipe.id}"):
                _show_card(item, corpus)


def _show_card(item: Recommendation, corpus: Corpus) -> None:
    recipe = item.recipe
    st.markdown(f"#### {plain(recipe.title)}")
    cuisine = plain(spoken(recipe.cuisine))
    st.caption(f":material/public: {cuisine} · :material/schedule: {recipe.minutes} min · serves {recipe.servings}")
    st.markdown(f"You have {_badges(item.matched, 'green', corpus)}")
    if item.missing:
        st.markdown(f"You need {_badges(item.missing, 'orange', corpus)}")
    with st.expander("Ingredients and steps"):
        st.markdown(_recipe_text(recipe, corpus))
        st.caption(plain(" ".join(item.reasons)))


def _recipe_text(recipe: Recipe, corpus: Corpus) -> str:
    lines = [f"- {plain(describe_line(line, corpus))}" for line in recipe.ingredients]
    steps = [f"{number}. {plain(step)}" for number, step in enumerate(recipe.steps, 1)]
    return "\n".join([*lines, "", *steps])


def _badges(names: Iterable[str], colour: str, corpus: Corpus) -> str:
    return " ".join(f":{colour}-badge[{plain(corpus.ingredients[name].name)}]" for name in names)

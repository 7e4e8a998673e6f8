"""Recipes: a corpus, who may eat each dish, and what to cook with what is at hand."""

from hakka.recipes.corpus import CORPUS, UNITS, Corpus, Recipe, RecipeIngredient, load_corpus
from hakka.recipes.diets import DIETS, ingredient_diets, recipe_allergens, recipe_diets
from hakka.recipes.ingredients import ALLERGENS, Ingredient
from hakka.recipes.recommend import AtHand, Recommendation, find_ingredients, recognise, recommend

__all__ = [
    "ALLERGENS",
    "CORPUS",
    "DIETS",
    "UNITS",
    "AtHand",
    "Corpus",
    "Ingredient",
    "Recipe",
    "RecipeIngredient",
    "Recommendation",
    "find_ingredients",
    "ingredient_diets",
    "load_corpus",
    "recipe_allergens",
    "recipe_diets",
    "recognise",
    "recommend",
]

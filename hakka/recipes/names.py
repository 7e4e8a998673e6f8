"""Words to ingredient ids: "2 ripe aubergines" is ``eggplant``, "apple cider vinegar" is no apple."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hakka.errors import InvalidInput
from hakka.recipes.ingredients import Ingredient

_WORD = re.compile(r"[^\W\d_]+")
_BREAK = re.compile(r"[^\w\s'’-]")  # a phrase does not run across these: "garlic, salt" is no garlic salt


@dataclass(frozen=True)
class NameIndex:
    """Every known phrase, as a tuple of words, with its ingredient id, or None where it means something else."""

    phrases: dict[tuple[str, ...], str | None]
    longest: int

    def find(self, text: str) -> tuple[str, ...]:
        """Ids of the ingredients that ``text`` names, in order of first mention. The longest phrase wins."""
        found: dict[str, None] = {}
        for part in _BREAK.split(unicodedata.normalize("NFC", text)):
            found.update(dict.fromkeys(self._find_words(split_words(part))))
        return tuple(found)

    def _find_words(self, words: list[str]) -> Iterator[str]:
        start = 0
        while start < len(words):
            for length in range(min(self.longest, len(words) - start), 0, -1):
                phrase = tuple(words[start : start + length])
                if phrase in self.phrases:
                    name = self.phrases[phrase]
                    if name is not None:
                        yield name
                    start += length
                    break
            else:
                start += 1


def build_index(ingredients: Iterable[Ingredient]) -> NameIndex:
    """The index of a table. A written name wins over a plural made here, and both win over a ``but_not``.

    Raises:
        InvalidInput: two ingredients are written with the same name.
    """
    ingredients = list(ingredients)
    written: dict[tuple[str, ...], str | None] = {}
    for ingredient in ingredients:
        for phrase in (ingredient.id, ingredient.name, *ingredient.aliases):
            words = tuple(split_words(phrase))
            if written.setdefault(words, ingredient.id) != ingredient.id:
                raise InvalidInput(f"ingredient {ingredient.id}: the name {phrase!r} also belongs to {written[words]}")
    phrases = dict(written)
    for words, name in written.items():
        for form in _plurals(words):
            phrases.setdefault(form, name)
    for ingredient in ingredients:
        for phrase in ingredient.but_not:
            words = tuple(split_words(phrase))
            for form in (words, *_plurals(words)):
                phrases.setdefault(form, None)
    return NameIndex(phrases, max(map(len, phrases), default=0))


def split_words(text: str) -> list[str]:
    """Lower-case words without accents; digits, hyphens and underscores only separate them."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return _WORD.findall(plain)


def plain_key(name: str) -> str:
    """Snake case of a name that a person typed: "Gluten-free" is ``gluten_free``."""
    return "_".join(split_words(name))


def _plurals(words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    *head, last = words
    endings = ["s"]
    if re.search(r"(s|x|z|ch|sh|o)$", last):
        endings.append("es")
    for ending in endings:
        yield (*head, last + ending)
    if re.search(r"[^aeiou]y$", last):
        yield (*head, last[:-1] + "ies")

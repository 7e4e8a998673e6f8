"""Which name was probably meant: the nearest of the class names and of the ingredients that recipes know."""

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from functools import cached_property, lru_cache

import numpy as np

from hakka.boxes import Array
from hakka.data.findings import short
from hakka.recipes.corpus import CORPUS, INGREDIENTS_FILE
from hakka.recipes.ingredients import read_ingredients
from hakka.recipes.names import NameIndex, build_index

NEAR = 0.85  # share of letters in common (difflib's ratio): one slip in a word of four letters is near, two are not
MOST_NAMES = 1000  # so many class names get advice; whoever has more did not write them by hand
_LONGEST = 40  # letters of a name that are compared
_BINS = 32
_COMPARED = 5


class Adviser:
    """Advice for some class names, by what else they could have been: ``canonical`` names, each other, ingredients."""

    def __init__(self, names: Sequence[str], canonical: Iterable[str] = ()) -> None:
        self._names = tuple(dict.fromkeys(names))[:MOST_NAMES]
        self._canonical = tuple(canonical)

    def nearest(self, name: str) -> str | None:
        """The nearest canonical or ingredient name, None if none is near or if recipes know the name as it is."""
        if name not in self._place or _known(name):
            return None
        return self._pool.nearest(name)

    def notes(self) -> list[str]:
        """A sentence for each name that looks like a typo of another one or of an ingredient."""
        notes = []
        for name in self._names:
            twin = self._twins.get(name)
            nearest = None if twin else self.nearest(name)
            if twin:
                notes.append(f"the class {short(name)} looks like {short(twin)}, another class of this data")
            elif nearest:
                notes.append(f"{short(name)} is not an ingredient that recipes know; nearest: {short(nearest)}")
        return notes

    @cached_property
    def _place(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self._names)}

    @cached_property
    def _pool(self) -> "_Pool":
        return _Pool((*self._canonical, *_ingredient_words()))

    @cached_property
    def _twins(self) -> dict[str, str]:
        """Name → the near one that it seems to be written for: that recipes know, or that comes first."""
        pool = _Pool(self._names)
        near = ((name, pool.nearest(name)) for name in self._names)
        return {name: other for name, other in near if other is not None and self._stands_for(name, other)}

    def _stands_for(self, name: str, other: str) -> bool:
        if _known(name) and _ingredients(name) != _ingredients(other):
            return False  # two foods
        return (_known(other), -self._place[other]) > (_known(name), -self._place[name])


class _Pool:
    """Names to choose the nearest of."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._plain = [plain(name) for name in names]
        self._letters = np.stack([_letters(word) for word in self._plain]) if names else np.zeros((0, _BINS))
        self._lengths = self._letters.sum(axis=1)

    def nearest(self, name: str) -> str | None:
        """The nearest other name (the first of equally near ones), None if none is near.

        Letters in common, in whatever order, bound difflib's ratio from above, so few names need to be compared; of
        more than ``_COMPARED`` those with the highest bounds are.
        """
        word = plain(name)
        own = _letters(word)
        common = np.minimum(self._letters, own).sum(axis=1)
        bound = 2 * common / np.maximum(self._lengths + own.sum(), 1)
        best, best_ratio = None, 0.0
        order = np.argsort(-bound, kind="stable")[: _COMPARED + 1]  # the name itself may be among them
        for i in order[bound[order] >= NEAR].tolist():
            if self._names[i] == name or _differ_in_digits(word, self._plain[i]):
                continue
            ratio = SequenceMatcher(None, word, self._plain[i], autojunk=False).ratio()
            if ratio >= NEAR and ratio > best_ratio:
                best, best_ratio = self._names[i], ratio
        return best


def plain(name: str) -> str:
    """A name as it is compared: small letters, single spaces, not too long."""
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())[:_LONGEST]


def _letters(word: str) -> Array:
    """(32,) how often each letter comes; letters that share a place only raise the bound."""
    counts: Array = np.bincount([ord(letter) % _BINS for letter in word], minlength=_BINS)
    return counts


def _differ_in_digits(a: str, b: str) -> bool:
    """True for names like "cup 1" and "cup 2": nobody meant the other one."""
    return a != b and any(c.isdigit() for c in a + b) and _without_digits(a) == _without_digits(b)


def _without_digits(word: str) -> str:
    return "".join(letter for letter in word if not letter.isdigit())


def _known(name: str) -> bool:
    return len(_ingredients(name)) == 1


def _ingredients(name: str) -> tuple[str, ...]:
    return _index().find(name[:_LONGEST])


@lru_cache(maxsize=1)
def _index() -> NameIndex:
    return build_index(read_ingredients(CORPUS / INGREDIENTS_FILE).values())


@lru_cache(maxsize=1)
def _ingredient_words() -> tuple[str, ...]:
    """Every name of every ingredient, as words."""
    return tuple(" ".join(words) for words, owner in _index().phrases.items() if owner is not None)

"""Which name was probably meant: the nearest of the class names and of the ingredients that recipes know."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from functools import cached_property, lru_cache

import numpy as np

from hakka.boxes import Array
from hakka.recipes.corpus import CORPUS, INGREDIENTS_FILE
from hakka.recipes.ingredients import Ingredient, read_ingredients
from hakka.recipes.names import NameIndex, build_index, split_words
from hakka.texts import counted, short

NEAR = 0.8  # share of letters in common (difflib's ratio): one slip in a word of five letters is near, two are not
MOST_NAMES = 1000  # so many class names get advice; whoever has more did not write them by hand
_LONGEST = 40  # letters of a name that are compared
_BINS = 32
_COMPARED = 10


class Adviser:
    """Advice for some class names, by what else they could have been: ``canonical`` names, each other, ingredients."""

    def __init__(self, names: Sequence[str], canonical: Iterable[str] = ()) -> None:
        self._all = len(names)
        self._names = tuple(dict.fromkeys(names))[:MOST_NAMES]
        self._canonical = {name: plain(name) for name in canonical}

    def nearest(self, name: str) -> str | None:
        """The canonical or ingredient name that was probably meant, None if none is near or ``name`` is an ingredient.

        That is the one of the same words in another order, else the nearest, else the one that ``name`` contains.
        """
        if name not in self._place or is_ingredient(name):
            return None
        same_words = _by_sorted_words().get(tuple(sorted(split_words(name[:_LONGEST]))))
        return same_words or self._pool.nearest(name) or self._contained(name)

    def notes(self, boxes: Mapping[str, int]) -> list[str]:
        """At most two sentences: the names that are no ingredient, with their ``boxes``, and those that look like one.

        An ingredient is what recipes know.
        """
        strangers = [name for name in self._names if not is_ingredient(name)]
        alike = [f"{short(name)} and {short(twin)}" for name, twin in self._twins.items() if is_ingredient(name)]
        notes = []
        if strangers:
            every = counted(self._all, "class", "classes")
            total = every if self._all <= MOST_NAMES else f"the first {MOST_NAMES} of {every}"
            are = "is" if len(strangers) == 1 else "are"
            listed = self.describe(strangers, boxes)
            notes.append(f"{len(strangers)} of {total} {are} no ingredient that recipes know: {listed}")
        if alike:
            notes.append(f"classes of this data that look like one: {', '.join(alike)}")
        return notes

    def describe(self, names: Sequence[str], boxes: Mapping[str, int]) -> str:
        """A list of names as text, each with its ``boxes`` and the nearest name; those that have one come first."""
        near, far = [], []
        for name in names[:MOST_NAMES]:
            nearest = self.nearest(name) or self._twins.get(name)
            count = counted(boxes.get(name, 0), "box", "boxes")
            if nearest:
                near.append(f"{short(name)} ({count}; nearest: {short(nearest)})")
            else:
                far.append(f"{short(name)} ({count})")
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        return ", ".join(near + far) + more

    def _contained(self, name: str) -> str | None:
        """The longest canonical name in a longer one, else what recipes take it for."""
        words = f" {plain(name)} "
        inside = [canonical for canonical, word in self._canonical.items() if f" {word} " in words]
        found = _index().find(name[:_LONGEST])
        return max(inside, key=len, default=_ingredients()[found[0]].name if len(found) == 1 else None)

    @cached_property
    def _place(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self._names)}

    @cached_property
    def _pool(self) -> "_Pool":
        return _Pool((*self._canonical, *_phrases()))

    @cached_property
    def _twins(self) -> dict[str, str]:
        """Name → the near one that it seems to be written for: an ingredient, or the one that comes first."""
        pool = _Pool(self._names)
        near = ((name, pool.nearest(name)) for name in self._names)
        return {name: other for name, other in near if other is not None and self._stands_for(name, other)}

    def _stands_for(self, name: str, other: str) -> bool:
        if is_ingredient(name) and _ingredient(name) != _ingredient(other):
            return False  # two foods
        return (is_ingredient(other), -self._place[other]) > (is_ingredient(name), -self._place[name])


class _Pool:
    """Names to choose the nearest of."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._plain = [plain(name) for name in names]
        self._letters = np.stack([_letters(word) for word in self._plain]) if names else np.zeros((0, _BINS))
        self._lengths = self._letters.sum(axis=1)
        self._first = np.array([word[:1] for word in self._plain])

    def nearest(self, name: str) -> str | None:
        """The nearest other name (the first of equally near ones), None if none is near.

        Both begin with the same letter, as people rarely slip there: a finger is no ginger. Letters in common, in
        whatever order, bound difflib's ratio from above, so few names need to be compared; of more than ``_COMPARED``
        those with the highest bounds are.
        """
        word = plain(name)
        own = _letters(word)
        common = np.minimum(self._letters, own).sum(axis=1)
        bound = np.where(self._first == word[:1], 2 * common / np.maximum(self._lengths + own.sum(), 1), 0)
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


def is_ingredient(name: str) -> bool:
    """True for a name, alias or plural of an ingredient that recipes know."""
    return _ingredient(name) is not None


def _ingredient(name: str) -> str | None:
    return _index().phrases.get(tuple(split_words(name)))


@lru_cache(maxsize=1)
def _ingredients() -> dict[str, Ingredient]:
    return read_ingredients(CORPUS / INGREDIENTS_FILE)


@lru_cache(maxsize=1)
def _index() -> NameIndex:
    return build_index(_ingredients().values())


@lru_cache(maxsize=1)
def _phrases() -> tuple[str, ...]:
    """Every name of every ingredient."""
    return tuple(" ".join(words) for words, owner in _index().phrases.items() if owner is not None)


@lru_cache(maxsize=1)
def _by_sorted_words() -> dict[tuple[str, ...], str]:
    return {tuple(sorted(phrase.split())): phrase for phrase in reversed(_phrases())}

"""Which images of a dataset look like others of it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hakka.boxes import Array
from hakka.data.dataset import Dataset, ImageEntry
from hakka.data.likeness import close_pairs, mirrored_pairs
from hakka.data.scan import Scan, look_words

Nearest = dict[str, tuple[ImageEntry, int]]


@dataclass(frozen=True)
class Likeness:
    """Image → the most alike of the images before it in the index, with the number of bits that differ.

    ``mirrored`` is the most alike of another split when one of the two is mirrored or upside down.
    """

    within: Nearest
    across: Nearest
    mirrored: Nearest


def find_likeness(dataset: Dataset, scans: Mapping[str, Scan], within: int, across: int) -> Likeness:
    """Compare the perceptual hashes of all usable images.

    Two images of one split are alike up to ``within`` differing bits of 256 (unless they have the same bytes), those of
    two splits up to ``across``.
    """
    entries = [entry for entry in dataset.entries if not scans[entry.image].problem]
    looks = look_words(scans[entry.image] for entry in entries)
    splits = np.unique([entry.split for entry in entries], return_inverse=True)[1]
    contents = np.unique([entry.sha256 for entry in entries], return_inverse=True)[1]
    found = Likeness({}, {}, {})
    for i, j, apart in close_pairs(looks, max(within, across)):
        same = splits[i] == splits[j]
        _keep(found.across, entries, *_nearest(i, j, apart, ~same & (apart <= across)))
        _keep(found.within, entries, *_nearest(i, j, apart, same & (apart <= within) & (contents[i] != contents[j])))
    for i, j, apart in mirrored_pairs(looks, across):
        _keep(found.mirrored, entries, *_nearest(i, j, apart, splits[i] != splits[j]))
    return found


def _nearest(i: Array, j: Array, apart: Array, chosen: Array) -> tuple[Array, Array, Array]:
    """Of the chosen pairs the one with the smallest distance, then the smallest ``j``, for each ``i``."""
    i, j, apart = i[chosen], j[chosen], apart[chosen]
    order = np.lexsort((j, apart, i))
    i, j, apart = i[order], j[order], apart[order]
    first = np.ones(len(i), dtype=bool)
    first[1:] = i[1:] != i[:-1]
    return i[first], j[first], apart[first]


def _keep(nearest: Nearest, entries: list[ImageEntry], i: Array, j: Array, apart: Array) -> None:
    for one, other, bits in zip(i.tolist(), j.tolist(), apart.tolist(), strict=True):
        known = nearest.get(entries[one].image)
        if known is None or bits < known[1]:
            nearest[entries[one].image] = (entries[other], bits)

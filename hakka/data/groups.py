"""Scenes: photos that look nearly the same belong together and must not be torn apart by a split."""

from collections.abc import Sequence

import numpy as np

from hakka.boxes import Array
from hakka.data.likeness import close_pairs
from hakka.data.scan import Scan, look_words


def group_scans(scans: Sequence[Scan], bits: int) -> dict[str, str]:
    """Image name → scene id, for scans without a problem.

    Two images whose 256-bit perceptual hashes differ in at most ``bits`` bits are of one scene, and so is whoever is
    linked to them by such a step. The scene id is the first 16 digits of the smallest content digest in the scene, so
    it does not hang on names or on order.
    """
    parents = np.arange(len(scans))
    for i, j, _ in close_pairs(look_words(scans), bits):
        _join(parents, i, j)
        parents[i] = parents[j] = _roots(parents, i)  # short ways for the next ones
    roots = _roots(parents, parents).tolist()
    smallest: dict[int, str] = {}
    for root, scan in zip(roots, scans, strict=True):
        smallest[root] = min(smallest.get(root, scan.sha256), scan.sha256)
    names = {root: digest[:16] for root, digest in smallest.items()}
    return {scan.image: names[root] for root, scan in zip(roots, scans, strict=True)}


def _roots(parents: Array, places: Array) -> Array:
    while (above := parents[places]).size and (above != places).any():
        places = above
    return places


def _join(parents: Array, i: Array, j: Array) -> None:
    """Make one tree of each pair's two, in place; the smaller number is the root."""
    while len(i):
        pair = np.sort(np.stack([_roots(parents, i), _roots(parents, j)]), axis=0)
        low, high = pair[:, pair[0] < pair[1]]
        np.minimum.at(parents, high, low)
        i, j = low, high

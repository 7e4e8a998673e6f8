"""Scenes: photos that look nearly the same belong together and must not be torn apart by a split."""

from collections.abc import Sequence

import numpy as np

from hakka.data.scan import Scan, distances, look_words


def group_scans(scans: Sequence[Scan], bits: int) -> dict[str, str]:
    """Image name → scene id, for scans without a problem.

    Two images whose 256-bit perceptual hashes differ in at most ``bits`` bits are of one scene, and so is whoever is
    linked to them by such a step. The scene id is the first 16 digits of the smallest content digest in the scene, so
    it does not hang on names or on order.
    """
    looks = look_words(scans)
    parents = list(range(len(scans)))
    for i in range(len(scans)):
        for j in np.flatnonzero(distances(looks[i], looks[i + 1 :]) <= bits):
            _join(parents, i, i + 1 + int(j))
    smallest: dict[int, str] = {}
    for i, scan in enumerate(scans):
        root = _root(parents, i)
        smallest[root] = min(smallest.get(root, scan.sha256), scan.sha256)
    return {scan.image: smallest[_root(parents, i)][:16] for i, scan in enumerate(scans)}


def _root(parents: list[int], i: int) -> int:
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


def _join(parents: list[int], i: int, j: int) -> None:
    parents[_root(parents, j)] = _root(parents, i)

"""Scenes: photos that look nearly the same belong together and must not be torn apart by a split."""

import re
from collections.abc import Sequence
from itertools import chain

import numpy as np

from hakka.boxes import Array
from hakka.data.likeness import close_pairs, mirrored_pairs
from hakka.data.scan import Scan, look_words

# What Roboflow exports: `<photo>_jpg.rf.<digest>.jpg`, once for each way in which it changed the photo.
_COPY = re.compile(r"(.+)\.rf\.[0-9A-Za-z]{20,}\.\w+")


def group_scans(scans: Sequence[Scan], bits: int, *, by_name: bool = True) -> dict[str, str]:
    """Image name → scene id, for scans without a problem.

    Two images whose 256-bit perceptual hashes differ in at most ``bits`` bits are of one scene, and so is whoever is
    linked to them by such a step; so is a copy that is mirrored or upside down (``mirrored_pairs``), and with
    ``by_name`` the copies of one photo that Roboflow makes, turned and cut beyond likeness. The scene id is the first
    16 digits of the smallest content digest in the scene, so it does not hang on order.
    """
    parents = np.arange(len(scans))
    if by_name:
        _join(parents, *_copies(scans))
    looks = look_words(scans)
    for i, j, _ in chain(close_pairs(looks, bits), mirrored_pairs(looks, bits)):
        _join(parents, i, j)
        parents[i] = parents[j] = _roots(parents, i)  # short ways for the next ones
    roots = _roots(parents, parents).tolist()
    smallest: dict[int, str] = {}
    for root, scan in zip(roots, scans, strict=True):
        smallest[root] = min(smallest.get(root, scan.sha256), scan.sha256)
    names = {root: digest[:16] for root, digest in smallest.items()}
    return {scan.image: names[root] for root, scan in zip(roots, scans, strict=True)}


def _copies(scans: Sequence[Scan]) -> tuple[Array, Array]:
    """Pairs (i, j) of each copy with the first one of its photo."""
    marked = ((i, scan.image) for i, scan in enumerate(scans) if ".rf." in scan.image)  # the search takes long for all
    found = ((i, copy[1]) for i, name in marked if (copy := _COPY.fullmatch(name)))
    first: dict[str, int] = {}
    pairs = np.array([(i, first.setdefault(photo, i)) for i, photo in found], dtype=int).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


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

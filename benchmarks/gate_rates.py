"""How often the gate errs, by simulation on real results: part ``gate`` of ``benchmarks/training.py``.

Given are evaluations of two or more models that differ in nothing but the seed of their training, on the same test
images. A simulated test set is a draw of those images. Each simulated model takes its result on each image from one of
the real models at random, so that no simulated model is better than another, while what is hard stays hard for all of
them. A worse model is one that loses a share of its right detections. Every pair goes through the gate's own rule.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hakka.detector.evaluate import Evaluation, read_evaluation
from hakka.detector.gate import GateParams, compare
from hakka.detector.metrics import Matches, average_precision, mean_ap
from hakka.detector.slices import Slice
from hakka.params import read_section

LEAST_SCORE = 0.05  # what lies below hardly moves mAP50, and is most of what there is
SIZES = (30, 50, 200, 1000)
CLASSES = (1, 5, 20, 0)  # the most frequent ones; 0 for all
BETTER = (0.02, 0.05, 0.1)
CANDIDATES = 5
WORSE_ON_SLICE = (0.0, 0.1, 0.2, 0.3)
SLICE_SHARE = 1 / 3
LIMIT = 0.05
Z = 1.96


class Population:
    """The results of several equal models on the same images, ready to draw test sets from."""

    def __init__(self, results: Sequence[Matches], classes: int) -> None:
        frequent = np.argsort(-results[0].truth.sum(axis=0), kind="stable")
        self.results = [_only(matches, frequent[: classes or None]) for matches in results]
        self.images = len(results[0].truth)
        self._rows = [[np.flatnonzero(m.image == i) for i in range(self.images)] for m in self.results]

    def draw(self, rng: np.random.Generator, size: int, models: int) -> tuple[np.ndarray, list[Matches]]:
        """A test set of ``size`` images (their numbers) and what each of the equal ``models`` finds on it."""
        drawn = rng.integers(0, self.images, size)
        first = rng.integers(0, len(self.results), size)
        steps = rng.integers(0, len(self.results), (models, size)) if models > 2 else np.zeros((models, size), int)
        if models == 2:  # two that always differ where the real ones do: the most noise that there can be
            steps[1] = rng.integers(1, len(self.results), size)
        return drawn, [self._take(drawn, (first + step) % len(self.results)) for step in steps]

    def _take(self, drawn: np.ndarray, picks: np.ndarray) -> Matches:
        """The results of model ``picks[k]`` on image ``drawn[k]``, for each k."""
        rows = [self._rows[m][i] for i, m in zip(drawn, picks, strict=True)]
        image = np.repeat(np.arange(len(drawn)), [len(part) for part in rows])
        arrays = {}
        for name in ("label", "score", "hit", "size"):
            parts = [getattr(self.results[m], name)[part] for m, part in zip(picks, rows, strict=True)]
            arrays[name] = np.concatenate(parts)
        truth, truth_size = self.results[0].truth[drawn], self.results[0].truth_size[drawn]
        return Matches(image=image, truth=truth, truth_size=truth_size, **arrays)


def _only(matches: Matches, classes: np.ndarray) -> Matches:
    """The matches of these classes that reach ``LEAST_SCORE``, the classes numbered anew."""
    number = np.full(matches.truth.shape[1], -1)
    number[classes] = np.arange(len(classes))
    kept = (number[matches.label] >= 0) & (matches.score >= LEAST_SCORE)
    return Matches(
        image=matches.image[kept],
        label=number[matches.label[kept]],
        score=matches.score[kept],
        hit=matches.hit[kept],
        truth=matches.truth[:, classes],
        size=matches.size[kept],
        truth_size=matches.truth_size[:, classes],
    )


def worsen(matches: Matches, rng: np.random.Generator, share: float, images: np.ndarray | None = None) -> Matches:
    """The matches without this share of the detections that are right at IoU 0.5, on ``images`` (n,) bool or on all."""
    lost = matches.hit[:, 0] & (rng.random(len(matches.score)) < share)
    if images is not None:
        lost &= images[matches.image]
    names = ("image", "label", "score", "hit", "size")
    return replace(matches, **{name: getattr(matches, name)[~lost] for name in names})


def map50(matches: Matches) -> float:
    """Its mAP50."""
    return mean_ap(average_precision(matches, levels=1))[0]


def share_for(matches: Matches, loss: float) -> float:
    """The share of right detections to take away, so that mAP50 falls by ``loss``; by halving."""
    before, low, high = map50(matches), 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        fallen = before - np.mean([map50(worsen(matches, np.random.default_rng(i), middle)) for i in range(5)])
        low, high = (middle, high) if fallen < loss else (low, middle)
    return low


def asked(version: str, matches: Matches, slices: dict[str, Slice] | None = None) -> Evaluation:
    """The matches as the gate takes them."""
    images = tuple(map(str, range(len(matches.truth))))
    return Evaluation(version, images, matches, map50(matches), 0.0, slices or {})


# One simulated decision each: was the challenger promoted?
def nothing_changed(population: Population, params: GateParams, size: int, seed: int) -> bool:
    """A challenger that is as good as the champion."""
    _, (new, old) = population.draw(np.random.default_rng([seed, size]), size, 2)
    return compare(asked("new", new), asked("old", old), params).promote


def best_of_equals(population: Population, params: GateParams, size: int, seed: int) -> bool:
    """The luckiest of ``CANDIDATES`` that are each as good as the champion."""
    _, (old, *others) = population.draw(np.random.default_rng([seed, size]), size, 1 + CANDIDATES)
    return compare(asked("new", max(others, key=map50)), asked("old", old), params, CANDIDATES).promote


def better(population: Population, params: GateParams, size: int, seed: int, *, share: float) -> bool:
    """A challenger beside a champion that lost ``share`` of its right detections."""
    rng = np.random.default_rng([seed, size])
    _, (new, old) = population.draw(rng, size, 2)
    return compare(asked("new", new), asked("old", worsen(old, rng, share)), params).promote


def worse_on_slice(
    population: Population, params: GateParams, size: int, seed: int, *, share: float, slice_share: float
) -> bool:
    """A challenger that is better on all images but those of a protected slice, a third of them, where it is worse."""
    rng = np.random.default_rng([seed, size])
    drawn, (new, old) = population.draw(rng, size, 2)
    inside = np.random.default_rng(0).random(population.images)[drawn] < SLICE_SHARE
    part = {"dark": Slice(images=tuple(np.flatnonzero(inside).tolist()))}
    challenger = asked("new", worsen(new, rng, slice_share, inside), part)
    champion = asked("old", worsen(old, rng, share, ~inside), part)
    return compare(challenger, champion, replace(params, slices=["dark"])).promote


_populations: dict[int, Population] = {}


def _load(folders: Sequence[Path]) -> None:
    evaluations = [read_evaluation(folder) for folder in folders]
    if len({evaluation.images for evaluation in evaluations}) != 1:
        raise SystemExit("the evaluations must be of the same test images")
    _populations.update({n: Population([evaluation.matches for evaluation in evaluations], n) for n in CLASSES})


def _count(decide: Callable[..., bool], classes: int, params: GateParams, size: int, seeds: range) -> int:
    return sum(decide(_populations[classes], params, size, seed) for seed in seeds)


def rate(
    pool: ProcessPoolExecutor, decide: Callable[..., bool], classes: int, size: int, pairs: int, draws: int
) -> int:
    """How many of so many simulated challengers are promoted."""
    params = read_section(GateParams, "gate", draws=draws, slices=[])
    parts = [range(first, pairs, 8) for first in range(8)]
    return sum(pool.map(partial(_count, decide, classes, params, size), parts))


def interval(yes: int, of: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share ("Probable Inference", 1927)."""
    share, spread = yes / of, Z**2 / of
    middle = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * np.sqrt(share * (1 - share) / of + spread / (4 * of))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def simulate(folders: Sequence[Path], options: Any) -> int:
    """Print every rate; 1 if a false promotion is more frequent than ``LIMIT`` beyond doubt."""
    began, failed = time.perf_counter(), False
    _load(folders)
    everything = _populations[0]
    shown = ", ".join(f"{map50(matches):.3f}" for matches in everything.results)
    print(f"{len(folders)} models of mAP50 {shown} on {everything.images} images; {options.pairs} pairs a false rate")
    print(f"gate of params.yaml with {options.draws} draws\n")
    shares = {loss: share_for(everything.results[0], loss) for loss in {*BETTER, *WORSE_ON_SLICE} - {0.0}} | {0.0: 0.0}
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), initializer=_load, initargs=(folders,)) as pool:
        for title, classes, decide in _questions(everything, shares):
            for size in SIZES if decide is not best_of_equals else SIZES[1:3]:  # it draws five times as often
                wrong = "nothing changed" in title
                pairs = options.pairs if wrong else max(options.pairs // 5, 1)
                yes = rate(pool, decide, classes, size, pairs, options.draws)
                low, high = interval(yes, pairs)
                failed |= wrong and low > LIMIT
                verdict = "" if not wrong else "within 5 %" if high <= LIMIT else "MORE" if low > LIMIT else "about 5 %"
                share = f"{yes / pairs:7.1%}"
                print(f"{title:<58}{size:>6} images{share} promoted  ({low:.1%} to {high:.1%})  {verdict}", flush=True)
    print(f"\n{time.perf_counter() - began:.0f} s")
    return int(failed)


def _questions(everything: Population, shares: dict[float, float]) -> Iterator[tuple[str, int, Callable[..., bool]]]:
    """What is asked, of how many classes, and how one answer is got."""
    named = {n: f"{everything.results[0].truth.shape[1] if n == 0 else n} classes" for n in CLASSES}
    for n in CLASSES:
        yield f"nothing changed, {named[n]}", n, nothing_changed
    yield f"nothing changed, best of {CANDIDATES}, {named[0]}", 0, best_of_equals
    for loss in BETTER:
        yield f"better by {loss}, {named[0]}", 0, partial(better, share=shares[loss])
    for loss in WORSE_ON_SLICE:
        decide = partial(worse_on_slice, share=shares[BETTER[-1]], slice_share=shares[loss])
        yield f"better by {BETTER[-1]}, on a protected third worse by {loss}", 0, decide

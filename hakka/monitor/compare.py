"""Whether two samples come from one population: tests that stay quiet when they do, and on tiny differences.

Evidently's own choice of tests is not used because it takes the reference for the exact truth (its chi-square compares
300 photos with the *shares* of 100 others) and so raises alarms on nothing. Here both sides are samples. Each
comparison gives a p-value and an effect from 0 to 1, and only the two together make drift.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

RARE = 5.0


@dataclass(frozen=True)
class Comparison:
    """How two samples differ.

    ``p_value`` is the chance of a difference this large between samples of one population, ``effect`` its size, 0–1.
    """

    p_value: float
    effect: float

    def among(self, count: int) -> "Comparison":
        """Correct the p-value for ``count`` comparisons of which any may raise the alarm (Bonferroni)."""
        return Comparison(min(1.0, self.p_value * count), self.effect)

    def drifted(self, alpha: float, least_effect: float) -> bool:
        """Whether the difference is neither chance nor too small to matter."""
        return self.p_value <= alpha and self.effect >= least_effect


def compare_numbers(reference: ArrayLike, current: ArrayLike) -> Comparison:
    """Two-sample Kolmogorov-Smirnov test; the effect is its distance, the largest gap between the two shares below."""
    stats = _scipy_stats()
    result = stats.ks_2samp(np.asarray(reference, float), np.asarray(current, float), method="asymp")
    return Comparison(float(result.pvalue), float(result.statistic))


def compare_categories(reference: Sequence[str], current: Sequence[str]) -> Comparison:
    """Two-sample chi-square test of category counts; the effect is the total variation distance of their shares.

    Categories of which the smaller sample expects fewer than five count as one, and not at all if that one is as
    rare, because the test's approximation does not hold for them.
    """
    stats = _scipy_stats()
    table = _pool_rare(_count(reference, current))
    if table.shape[1] < 2:
        return Comparison(1.0, 0.0)
    shares = table / table.sum(axis=1, keepdims=True)
    p_value = float(stats.chi2_contingency(table, correction=False)[1])
    return Comparison(p_value, float(np.abs(shares[0] - shares[1]).sum() / 2))


def compare_presence(reference: Sequence[str], current: Sequence[str]) -> Comparison:
    """Fisher's exact test of a column of "yes" and "no"; the effect is the relative change of the share of yes.

    The change is taken against the larger share: 1 when a class that was there is gone (or came new), 0.5 when its
    share halved or doubled.
    """
    yes = [int((np.asarray(side) == "yes").sum()) for side in (reference, current)]
    sizes = [len(reference), len(current)]
    shares = [count / size for count, size in zip(yes, sizes, strict=True)]
    larger = max(shares)
    effect = abs(shares[0] - shares[1]) / larger if larger else 0.0
    return Comparison(_fisher(yes[0], sum(yes), sizes), effect)


def least_p_value(yes: int, sizes: Sequence[int]) -> float:
    """Give the smallest p-value that ``compare_presence`` can reach if ``yes`` of all photos have the class.

    It is reached when all of them lie on one side. A class whose least p-value is above the threshold is too rare for
    any answer; left out, it does not weaken the others (Tarone 1990).
    """
    return min(_fisher(max(0, yes - sizes[1]), yes, sizes), _fisher(min(yes, sizes[0]), yes, sizes))


def _fisher(first: int, yes: int, sizes: Sequence[int]) -> float:
    table = [[first, yes - first], [sizes[0] - first, sizes[1] - yes + first]]
    return float(_scipy_stats().fisher_exact(table)[1])


def _scipy_stats() -> Any:
    from scipy import stats  # type: ignore[import-untyped]

    return stats


def _count(reference: Sequence[str], current: Sequence[str]) -> NDArray[np.float64]:
    names = sorted({*reference, *current})
    places = {name: place for place, name in enumerate(names)}
    return np.array(
        [np.bincount([places[name] for name in side], minlength=len(names)) for side in (reference, current)], float
    )


def _pool_rare(table: NDArray[np.float64]) -> NDArray[np.float64]:
    # Which columns are pooled depends on the sums over both samples only, so it does not favour a difference.
    smaller = table.sum(axis=1).min() / table.sum()
    rare = table.sum(axis=0) * smaller < RARE
    pooled = table[:, rare].sum(axis=1)
    enough = pooled.sum() * smaller >= RARE
    return np.column_stack([table[:, ~rare], pooled]) if enough else table[:, ~rare]

"""What the watch looks at: columns derived from log rows, and which of them differ between two sets of rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hakka.errors import InvalidInput
from hakka.monitor.compare import Comparison, compare_categories, compare_numbers, compare_presence, least_p_value

if TYPE_CHECKING:
    import pandas as pd

NUMBERS = ("brightness", "blur", "megapixels", "detections", "confidence")
TOP_CLASS = "top_class"
PRESENCE = "has "
COLUMN_ROWS = 20
MOST_DAYS = 36_500


@dataclass(frozen=True)
class DriftParams:
    """Section ``monitor`` of params.yaml.

    ``alpha`` is the chance that undrifted photos raise an alarm, over all columns together. A number or the top class
    also has to move by ``min_effect`` (0–1: the largest gap between the two distributions), a class's share of the
    photos by ``min_class_change`` of the larger share (0.5: halved or doubled). ``days`` says how far back the log is
    read. Without ``version`` the log is compared for the version that the reference was made by.
    """

    min_rows: int = 100
    min_reference: int = 30
    alpha: float = 0.01
    min_effect: float = 0.1
    min_class_change: float = 0.5
    days: float = 7.0
    version: str = ""

    def __post_init__(self) -> None:
        """Refuse values that no watch can use."""
        for name in ("min_rows", "min_reference"):
            if getattr(self, name) < COLUMN_ROWS:
                raise InvalidInput(f"monitor.{name} must be at least {COLUMN_ROWS}, got {getattr(self, name)}")
        for name in ("alpha", "min_effect", "min_class_change"):
            if not 0 < getattr(self, name) < 1:
                raise InvalidInput(f"monitor.{name} must lie between 0 and 1, got {getattr(self, name)}")
        if not 0 < self.days <= MOST_DAYS:
            raise InvalidInput(f"monitor.days must be over 0 and at most {MOST_DAYS}, got {self.days}")


@dataclass(frozen=True)
class Kind:
    """One kind of column: the name of its test, how two samples are compared, and which parameter bounds the effect."""

    name: str
    title: str
    categorical: bool
    compare: Callable[[Any, Any], Comparison]
    bound: str

    def least_effect(self, params: DriftParams) -> float:
        """Give the effect below which a difference does not matter."""
        return float(getattr(params, self.bound))


NUMBER = Kind("hakka_number", "K-S p-value, if the distance is at least", False, compare_numbers, "min_effect")
CATEGORY = Kind(
    "hakka_category", "chi-square p-value, if the distance is at least", True, compare_categories, "min_effect"
)
CLASS = Kind(
    "hakka_class", "Fisher p-value, if the share changes by at least", True, compare_presence, "min_class_change"
)
KINDS = (NUMBER, CATEGORY, CLASS)


def kind_of(column: str) -> Kind:
    """Which kind a derived column is."""
    return CLASS if column.startswith(PRESENCE) else CATEGORY if column == TOP_CLASS else NUMBER


def derive(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Turn log rows into ``NUMBERS``, ``top_class`` and ``has <class>`` ("yes" or "no") for every class that occurs.

    ``confidence`` is the mean over the photo's detections, NaN without any; ``top_class`` is the class of the most
    confident one, "none" without any. The detections of one photo depend on each other, photos do not, so classes are
    counted by photo.
    """
    import pandas as pd

    confidences = [np.asarray(values, float) for values in rows["confidences"]]
    classes = [list(names) for names in rows["classes"]]
    columns: dict[str, Any] = {
        "brightness": rows["brightness"].to_numpy(float),
        "blur": rows["blur"].to_numpy(float),
        "megapixels": rows["width"].to_numpy(float) * rows["height"].to_numpy(float) / 1e6,
        "detections": np.array([len(values) for values in confidences], float),
        "confidence": np.array([values.mean() if len(values) else np.nan for values in confidences], float),
        TOP_CLASS: [
            names[int(values.argmax())] if names else "none" for names, values in zip(classes, confidences, strict=True)
        ],
    }
    for name in sorted({name for names in classes for name in names}):
        columns[PRESENCE + name] = ["yes" if name in names else "no" for names in classes]
    return pd.DataFrame(columns)


def align(before: "pd.DataFrame", after: "pd.DataFrame", alpha: float) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Give both derived frames the same columns: those that can be compared.

    A number stays if both sides have ``COLUMN_ROWS`` values, a class if it is in enough photos for an answer at
    ``alpha``. The latter is seen from both sides together, so that it favours no difference.
    """
    names = sorted({name for name in (*before, *after) if name.startswith(PRESENCE)})
    before, after = (
        frame.reindex(columns=[*NUMBERS, TOP_CLASS, *names]).fillna(dict.fromkeys(names, "no"))
        for frame in (before, after)
    )
    threshold, sizes = alpha / before.shape[1], [len(before), len(after)]
    photos = {name: int((before[name] == "yes").sum() + (after[name] == "yes").sum()) for name in names}
    numbers = [name for name in NUMBERS if min(before[name].count(), after[name].count()) >= COLUMN_ROWS]
    classes = [name for name in names if least_p_value(photos[name], sizes) <= threshold]
    columns = [*numbers, TOP_CLASS, *classes]
    return before[columns], after[columns]


def compare_columns(before: "pd.DataFrame", after: "pd.DataFrame", params: DriftParams) -> dict[str, dict[str, Any]]:
    """Compare two aligned frames column by column.

    Gives ``{column: {"p_value", "alpha", "effect", "min_effect", "drifted"}}``. The p-values are multiplied by the
    number of columns (Bonferroni), which keeps the chance of any false alarm at ``alpha`` however many there are.
    """
    results = {}
    for name in before:
        kind = kind_of(name)
        result = kind.compare(before[name].dropna(), after[name].dropna()).among(before.shape[1])
        least = kind.least_effect(params)
        results[name] = {
            "p_value": result.p_value,
            "alpha": params.alpha,
            "effect": result.effect,
            "min_effect": least,
            "drifted": result.drifted(params.alpha, least),
        }
    return results

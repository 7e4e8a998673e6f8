"""Checks of your own: every ``test_*`` in this folder is run with those of Hakka, on the same fixtures.

What a check may ask for stands in docs/checks.md; its severity and thresholds may stand in params.yaml under
``quality``, by its name without ``test_``. Without that it is an error, which stops the pipeline.
"""

from hakka.boxes import Array
from hakka.quality.answers import Judge
from hakka.quality.limits import Limits


def test_one_plate(boxes: dict[str, Array], limits: Limits, judge: Judge) -> None:
    """A photo shows a plate or a table, not a market: it has a number of boxes that a person would draw."""
    most = limits.number("one_plate", "max_boxes", default=100)
    judge(
        (image, f"{image}: a photo of a meal may have {most:g} boxes at most, got {len(rows)}")
        for image, rows in boxes.items()
        if len(rows) > most
    )

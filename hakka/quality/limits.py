"""The checks' severities and thresholds: section ``quality`` of params.yaml."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hakka.errors import InvalidInput
from hakka.params import PARAMS_FILE, nearest, read_values
from hakka.texts import short

SEVERITIES = ("error", "warning", "off")

# Every check with its default severity and thresholds; params.yaml overrides them one by one.
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "dataset_digest": {"severity": "error"},
    "images_present": {"severity": "error"},
    "images_decode": {"severity": "error"},
    "images_unchanged": {"severity": "error"},
    "image_format": {"severity": "warning"},
    "image_size": {"severity": "warning", "min_side": 64, "max_side": 12000, "max_aspect": 5.0},
    "image_variance": {"severity": "warning", "min_deviation": 4.0},
    "image_filled": {"severity": "warning", "max_share": 0.05},
    "exact_duplicates": {"severity": "error"},
    "near_duplicates": {"severity": "warning", "bits": 20},
    "split_leakage": {"severity": "error", "bits": 84},
    "splits_filled": {"severity": "error"},
    "split_shares": {"severity": "warning", "slack": 0.5},
    "label_files": {"severity": "error"},
    "label_syntax": {"severity": "error"},
    "label_classes": {"severity": "error"},
    "label_coordinates": {"severity": "error"},
    "label_degenerate": {"severity": "warning", "min_pixels": 2.0},
    "label_duplicates": {"severity": "warning", "iou": 0.95},
    "boxes_to_learn": {"severity": "error"},
    "class_instances": {"severity": "warning", "min_boxes": 10},
    "class_balance": {"severity": "warning", "max_ratio": 50.0},
    "class_splits": {"severity": "warning", "min_scenes": 3},
    "classes_trained": {"severity": "warning"},
    "background_share": {"severity": "warning", "max_share": 0.5},
    "source_findings": {"severity": "warning"},
    "source_refused": {"severity": "error", "max_share": 0.2},
    "data_drift": {"severity": "warning", "max_class_distance": 0.2, "max_number_distance": 0.3},
}


@dataclass(frozen=True)
class Limits:
    """Severity and thresholds of every check."""

    values: Mapping[str, Mapping[str, Any]]

    def severity(self, check: str) -> str:
        """error, warning or off; a check of the user's that params.yaml does not list is an error."""
        return str(self.values.get(check.partition("[")[0], {}).get("severity", "error"))

    def number(self, check: str, threshold: str, default: float | None = None) -> float:
        """A threshold of a check; ``default`` is for a check of your own that params.yaml need not list.

        Raises:
            InvalidInput: there is neither.
        """
        value = self.values.get(check, {}).get(threshold, default)
        if value is None:
            raise InvalidInput(f"params.yaml: quality.{check}.{threshold} is asked for and is not there")
        return float(value)


def read_limits(path: Path = PARAMS_FILE, users: Collection[str] = ()) -> Limits:
    """The defaults above with what section ``quality`` of the params file changes.

    ``users`` are the names of the user's own checks, which may be listed with whatever thresholds they like.

    Raises:
        InvalidInput: there is no such section, an unknown check or threshold, a severity that is none, or a threshold
            that is no number from 0.
    """
    section = read_values("quality", path)
    values = {check: dict(settings) for check, settings in DEFAULTS.items()}
    values |= {check: {"severity": "error"} for check in users if check not in values}
    for check, settings in section.items():
        place = f"{path}: quality.{check}"
        if check not in values:
            raise InvalidInput(f"{place} is not a check; {nearest(check, values)}")
        if not isinstance(settings, dict):
            raise InvalidInput(f"{place} must be a mapping, got {short(settings)}")
        for key, value in settings.items():
            value = "off" if key == "severity" and value is False else value  # YAML reads a bare off as false
            _check(place, key, value, None if check in users else values[check])
            values[check][key] = value
    return Limits(values)


def _check(place: str, key: str, value: Any, known: Mapping[str, Any] | None) -> None:
    if known is not None and key not in known:
        raise InvalidInput(f"{place}.{key} is not a threshold; {nearest(key, known)}")
    if key == "severity" and value not in SEVERITIES:
        raise InvalidInput(f"{place}.severity must be one of {', '.join(SEVERITIES)}, got {short(value)}")
    if key != "severity" and (isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0):
        raise InvalidInput(f"{place}.{key} must be a number from 0, got {short(value)}")

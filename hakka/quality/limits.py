"""The checks' severities and thresholds: section ``quality`` of params.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hakka.errors import InvalidInput
from hakka.params import PARAMS_FILE, read_params

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
    "class_instances": {"severity": "warning", "min_boxes": 10},
    "class_balance": {"severity": "warning", "max_ratio": 50.0},
    "class_splits": {"severity": "warning", "min_scenes": 3},
    "classes_trained": {"severity": "warning"},
    "background_share": {"severity": "warning", "max_share": 0.5},
    "source_findings": {"severity": "warning"},
    "source_refused": {"severity": "error", "max_share": 0.2},
}


@dataclass(frozen=True)
class Limits:
    """Severity and thresholds of every check."""

    values: Mapping[str, Mapping[str, Any]]

    def severity(self, check: str) -> str:
        """error, warning or off; a check that params.yaml does not know (a user's own) is an error."""
        return str(self.values.get(check, {}).get("severity", "error"))

    def number(self, check: str, threshold: str) -> float:
        """A threshold of a check."""
        return float(self.values[check][threshold])


def read_limits(path: Path = PARAMS_FILE) -> Limits:
    """The defaults above with what section ``quality`` of the params file changes.

    Raises:
        InvalidInput: an unknown check or threshold, a severity that is none, or a threshold that is no number from 0.
    """
    section = read_params(path).get("quality", {})
    values = {check: dict(settings) for check, settings in DEFAULTS.items()}
    for check, settings in section.items():
        place = f"{path}: quality.{check}"
        if check not in values:
            raise InvalidInput(f"{place} is not a check; known are {', '.join(sorted(values))}")
        if not isinstance(settings, dict):
            raise InvalidInput(f"{place} must be a mapping, got {settings!r}")
        for key, value in settings.items():
            _check(place, key, value, values[check])
            values[check][key] = value
    return Limits(values)


def _check(place: str, key: str, value: Any, known: Mapping[str, Any]) -> None:
    if key not in known:
        raise InvalidInput(f"{place}.{key} is not a threshold; known are {', '.join(sorted(known))}")
    if key == "severity" and value not in SEVERITIES:
        raise InvalidInput(f"{place}.severity must be one of {', '.join(SEVERITIES)}, got {value!r}")
    if key != "severity" and (isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0):
        raise InvalidInput(f"{place}.{key} must be a number from 0, got {value!r}")

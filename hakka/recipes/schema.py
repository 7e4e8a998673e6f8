"""Reading the corpus files: YAML in, checked values out, one sentence for what is wrong."""

import math
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from hakka.errors import InvalidInput
from hakka.strict_yaml import load_yaml

_ID = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def read_yaml(path: Path) -> Any:
    """The value of a YAML file.

    Raises:
        InvalidInput: the file is missing, is not UTF-8, is not YAML, or holds a key twice.
    """
    try:
        return load_yaml(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InvalidInput(f"{path}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path.name}: not valid YAML: {' '.join(str(error).split())}") from None


def check_keys(entry: Any, required: Collection[str], optional: Collection[str], place: str) -> dict[str, Any]:
    """``entry`` itself, once it is a mapping with all required keys and no unknown one."""
    if not isinstance(entry, dict):
        raise InvalidInput(f"{place}: must be a mapping, got {entry!r}")
    for key in required:
        if key not in entry:
            raise InvalidInput(f"{place}: {key} is missing")
    for key in entry:
        if key not in required and key not in optional:
            raise InvalidInput(f"{place}: {key!r} is not a key; known are {', '.join([*required, *optional])}")
    return entry


def check_id(value: Any, rule: str, place: str) -> str:
    """A snake_case name."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise InvalidInput(f"{place}: {rule} must be snake_case, got {value!r}")
    return value


def check_text(value: Any, rule: str, place: str) -> str:
    """A non-empty string."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidInput(f"{place}: {rule} must be a text, got {value!r}")
    return value


def check_texts(value: Any, rule: str, place: str) -> tuple[str, ...]:
    """A list of non-empty strings, as a tuple."""
    if not isinstance(value, list):
        raise InvalidInput(f"{place}: {rule} must be a list, got {value!r}")
    return tuple(check_text(item, f"each of {rule}", place) for item in value)


def check_choice(value: Any, choices: Collection[str], rule: str, place: str) -> str:
    """One of a closed list."""
    if not isinstance(value, str) or value not in choices:
        raise InvalidInput(f"{place}: {rule} must be one of {', '.join(choices)}, got {value!r}")
    return value


def check_choices(value: Any, choices: Collection[str], rule: str, place: str) -> frozenset[str]:
    """A list whose items are of a closed list."""
    return frozenset(check_choice(item, choices, rule, place) for item in check_texts(value, rule, place))


def check_flag(value: Any, rule: str, place: str) -> bool:
    """A flag, true or false."""
    if not isinstance(value, bool):
        raise InvalidInput(f"{place}: {rule} must be true or false, got {value!r}")
    return value


def check_positive(value: Any, most: float, rule: str, place: str) -> float:
    """A number above 0 and at most ``most``."""
    number = not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)
    if not number or not 0 < value <= most:
        raise InvalidInput(f"{place}: {rule} must be a number above 0 and at most {most:g}, got {value!r}")
    return float(value)


def check_whole(value: Any, most: int, rule: str, place: str) -> int:
    """A whole number from 1 to ``most``."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InvalidInput(f"{place}: {rule} must be a whole number from 1 to {most}, got {value!r}")
    return value

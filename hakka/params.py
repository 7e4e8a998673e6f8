"""``params.yaml``: every tunable, one section a step."""

from collections.abc import Collection
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_origin

import yaml

from hakka.errors import InvalidInput
from hakka.strict_yaml import load_yaml
from hakka.texts import short

PARAMS_FILE = Path(__file__).resolve().parent.parent / "params.yaml"
SECTIONS = ("train", "export", "variants", "search", "gate", "split", "scan", "quality", "cluster", "monitor")
Section = TypeVar("Section")


def read_params(path: Path = PARAMS_FILE) -> dict[str, dict[str, Any]]:
    """All sections of a params file.

    Raises:
        InvalidInput: the file is missing, is not YAML, has a key twice, is not a mapping of mappings, or has a section
            that there is not.
    """
    try:
        params = load_yaml(path.read_text())
    except FileNotFoundError:
        raise InvalidInput(f"{path}: no such params file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(params, dict) or not all(isinstance(section, dict) for section in params.values()):
        raise InvalidInput(f"{path}: a params file is a mapping of sections, each a mapping")
    for name in params:
        if name not in SECTIONS:
            raise InvalidInput(f"{path}: {short(name)} is not a section; {nearest(name, SECTIONS)}")
    return params


def read_values(name: str, path: Path = PARAMS_FILE) -> dict[str, Any]:
    """One section as it stands in the file.

    Raises:
        InvalidInput: as :func:`read_params`, or the section is not there.
    """
    params = read_params(path)
    if name not in params:
        raise InvalidInput(f"{path}: must have a section {name}, there is none")
    return dict(params[name])


def read_section(kind: type[Section], name: str, path: Path = PARAMS_FILE, **overrides: Any) -> Section:
    """One section as its frozen dataclass; ``overrides`` that are not None win.

    Raises:
        InvalidInput: the section is not there, lacks a key of its dataclass, or holds another one or a value of another
            type.
    """
    values = read_values(name, path)
    values.update({key: value for key, value in overrides.items() if value is not None})
    known = {field.name: field.type for field in fields(kind)}  # type: ignore[arg-type]
    for key, value in values.items():
        if key not in known:
            raise InvalidInput(f"{path}: {name}.{key} is not a parameter; {nearest(key, known)}")
        values[key] = _checked(f"{path}: {name}.{key}", value, known[key])
    if missing := [key for key in known if key not in values]:
        raise InvalidInput(f"{path}: section {name} must name every parameter of it; missing: {', '.join(missing)}")
    return kind(**values)


def nearest(name: object, known: Collection[str]) -> str:
    """Which of the ``known`` names was probably meant, or which there are, as the end of a sentence."""
    close = get_close_matches(str(name), known, n=1)
    return f"nearest is {close[0]!r}" if close else f"known are {', '.join(known) or 'none'}"


def _checked(place: str, value: Any, kind: Any) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    kind = get_origin(kind) or kind
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InvalidInput(f"{place} must be {kind.__name__}, got {short(value)}")
    return value

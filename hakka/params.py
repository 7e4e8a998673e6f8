"""``params.yaml``: every tunable, one section a step."""

from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from hakka.errors import InvalidInput
from hakka.strict_yaml import load_yaml

PARAMS_FILE = Path(__file__).resolve().parent.parent / "params.yaml"
Section = TypeVar("Section")


def read_params(path: Path = PARAMS_FILE) -> dict[str, dict[str, Any]]:
    """All sections of a params file.

    Raises:
        InvalidInput: the file is missing, is not YAML, has a key twice, or is not a mapping of mappings.
    """
    try:
        params = load_yaml(path.read_text())
    except FileNotFoundError:
        raise InvalidInput(f"{path}: no such params file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(params, dict) or not all(isinstance(section, dict) for section in params.values()):
        raise InvalidInput(f"{path}: a params file is a mapping of sections, each a mapping")
    return params


def read_section(kind: type[Section], name: str, path: Path = PARAMS_FILE, **overrides: Any) -> Section:
    """One section as its frozen dataclass; ``overrides`` that are not None win.

    Raises:
        InvalidInput: the section holds a key that its dataclass does not have, or a value of another type.
    """
    values = dict(read_params(path).get(name, {}))
    values.update({key: value for key, value in overrides.items() if value is not None})
    known = {field.name: field.type for field in fields(kind)}  # type: ignore[arg-type]
    for key, value in values.items():
        if key not in known:
            raise InvalidInput(f"{path}: {name}.{key} is not a parameter; known are {', '.join(sorted(known))}")
        values[key] = _checked(f"{path}: {name}.{key}", value, known[key])
    return kind(**values)


def _checked(place: str, value: Any, kind: Any) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind in (int, float, str, bool) and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise InvalidInput(f"{place} must be {kind.__name__}, got {value!r}")
    return value

"""Checks custom resources as an API server in strict mode does: an unknown field or kind is an error.

The schemas are the OpenAPI schemas of the CRDs, one JSON file a kind and version, in a folder beside the repository.
The rules in CEL (``x-kubernetes-validations``) and the webhooks of an operator are not run here.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "schemas"
METADATA = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"},
        "namespace": {"type": "string"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}


class CustomResources:
    """The schemas of a folder by apiVersion and kind."""

    def __init__(self, folder: Path = FOLDER) -> None:
        records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
        self._validators = {
            (f"{r['group']}/{r['version']}", r["kind"]): Draft202012Validator(_close(r["openAPIV3Schema"], root=True))
            for r in records
        }

    def problems(self, resource: dict[str, Any]) -> list[str]:
        """One line a problem, with its place; ``status`` is what a controller writes and is left out."""
        kind = (resource.get("apiVersion"), resource.get("kind"))
        if kind not in self._validators:
            return [f"there is no schema for {kind[0]} {kind[1]}"]
        written = {key: value for key, value in resource.items() if key != "status"}
        return [f"{error.json_path}: {error.message[:300]}" for error in self._validators[kind].iter_errors(written)]


def _close(schema: dict[str, Any], *, root: bool = False) -> dict[str, Any]:
    """A structural schema as JSON Schema that knows every field: what is not named is not allowed."""
    closed = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes-") and key != "default"}
    if schema.get("x-kubernetes-int-or-string"):
        closed.pop("type", None)
        closed.setdefault("anyOf", [{"type": "integer"}, {"type": "string"}])
    if "items" in schema:
        closed["items"] = _close(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        closed["additionalProperties"] = _close(schema["additionalProperties"])
    if schema.get("type") == "object":
        closed["properties"] = {name: _close(field) for name, field in schema.get("properties", {}).items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            closed.setdefault("additionalProperties", False)
    if root:
        closed["properties"] |= {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": METADATA}
    return closed


def fields(value: Any, place: str = "$") -> Iterator[tuple[str, Any]]:
    """Every value of a document with its place."""
    yield place, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from fields(inner, f"{place}.{key}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from fields(inner, f"{place}[{i}]")

"""Runs: ``runs/<version>.json`` of the registry is the record of the run that made a version.

It is no part of the version, whose folder is complete before its run ends, and like everything here it never changes.
"""

import json
from collections.abc import Mapping
from typing import Any

from hakka.errors import InvalidInput
from hakka.registry.store import Registry, open_store


def keep_run(registry: Registry, version: str, record: Mapping[str, Any]) -> None:
    """Keep the record of the run that made a version; the first one stays, whoever comes second.

    Raises:
        Unavailable: the registry cannot be reached.
    """
    open_store(registry).create(f"runs/{version}.json", json.dumps(record, ensure_ascii=False).encode())


def read_run(registry: Registry, version: str) -> dict[str, Any]:
    """The record of the run that made a version, empty where none is kept.

    Raises:
        InvalidInput: it is not a record.
        Unavailable: the registry cannot be reached.
    """
    content = open_store(registry).read(f"runs/{version}.json")
    try:
        record = {} if content is None else json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{registry}/runs/{version}.json: not valid JSON: {error}") from None
    if not isinstance(record, dict):
        raise InvalidInput(f"{registry}/runs/{version}.json: not the record of a run")
    return record

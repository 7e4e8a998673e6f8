"""Versions: ``versions/<version>/`` of the registry holds the model files, ``reference.parquet`` and ``model.json``."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hakka.detector.modelfile import read_model_info
from hakka.errors import InvalidInput, NotFound
from hakka.files import read_json
from hakka.registry.store import Registry, open_store

VERSION = re.compile(r"[0-9a-f]{12}")
RECORD = "model.json"


def version_folder(registry: Registry, version: str) -> Path:
    """Where a registered version lies on this machine; one of a remote registry is fetched first.

    Raises:
        InvalidInput: ``version`` is not 12 hex digits.
        NotFound: it is not registered.
        Unavailable: the registry cannot be reached.
    """
    if not VERSION.fullmatch(version):
        raise InvalidInput(f"version must be 12 hex digits, got {version!r}")
    folder = open_store(registry).local_folder(f"versions/{version}", RECORD)
    if folder is None:
        raise NotFound(f"version {version} is not in the registry {registry}")
    return folder


def register(model: Path, evaluation: Path, registry: Registry, lineage: Mapping[str, str]) -> str:
    """Put a model folder and its metrics into the registry and return its version.

    The version appears whole, and once: one that is there already stays as it is, whoever comes second.

    Raises:
        NotFound: ``model`` holds no model.
        Tampered: a model file does not have its digest.
        InvalidInput: the evaluation is of another model.
        Unavailable: the registry cannot be reached.
    """
    info = read_model_info(model)
    metrics = read_json(evaluation / "metrics.json")
    if metrics.get("version") != info.version:
        raise InvalidInput(f"{evaluation}: must evaluate version {info.version}, got {metrics.get('version')}")
    record = {
        **info.raw,
        "data": {**info.raw.get("data", {}), "source": lineage.get("data"), "revision": lineage.get("data_revision")},
        "code": {**info.raw.get("code", {}), "commit": lineage.get("commit") or None},
        "metrics": {key: metrics[key] for key in ("map50", "map50_95", "images", "boxes", "per_class")},
        "kfp_run": lineage.get("run"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    wanted = {*info.raw["files"], "reference.parquet"}
    files = {path.name: path for path in sorted(model.iterdir()) if path.name in wanted}
    content = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    open_store(registry).add_folder(f"versions/{info.version}", files, RECORD, content.encode())
    return info.version


def publish(model: Path, evaluation: Path, registry: Registry, *, channel: str, lineage: Mapping[str, str]) -> str:
    """Register a model and point ``channel`` at it; run twice, it does the same once. Raises as the two do."""
    from hakka.registry.channels import promote

    version = register(model, evaluation, registry, lineage)
    promote(registry, version, channel)
    return version


def list_versions(registry: Registry) -> list[dict[str, Any]]:
    """The ``model.json`` of every version, oldest first.

    Raises:
        InvalidInput: one is not a version's record.
        Unavailable: the registry cannot be reached.
    """
    store = open_store(registry)
    names = [name for name in store.names("versions") if VERSION.fullmatch(name)]
    contents = {name: store.read(f"versions/{name}/{RECORD}") for name in names}
    records = [_record(f"{registry}/versions/{name}", content) for name, content in contents.items() if content]
    return sorted(records, key=lambda record: (record["created"], record["version"]))


def read_version(registry: Registry, version: str) -> dict[str, Any]:
    """The ``model.json`` of one version, without its files.

    Raises:
        InvalidInput: it is not a version's record.
        NotFound: the version is not registered.
        Unavailable: the registry cannot be reached.
    """
    content = open_store(registry).read(f"versions/{version}/{RECORD}")
    if content is None:
        raise NotFound(f"version {version} is not in the registry {registry}")
    return _record(f"{registry}/versions/{version}", content)


def _record(place: str, content: bytes) -> dict[str, Any]:
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{place}/{RECORD}: not valid JSON: {error}") from None
    kinds = {"version": str, "created": str, "names": list, "metrics": dict, "data": dict}
    if not isinstance(record, dict) or any(not isinstance(record.get(key), kind) for key, kind in kinds.items()):
        raise InvalidInput(f"{place}/{RECORD}: not a version's record: it needs {', '.join(kinds)}")
    return record

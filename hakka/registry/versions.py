"""Versions: ``versions/<version>/`` of the registry holds the model files, ``reference.parquet`` and ``model.json``."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hakka.detector.modelfile import RECORD, VERSION, check_record, read_model_info, seal
from hakka.errors import HakkaError, InvalidInput, NotFound, Tampered
from hakka.files import read_json
from hakka.registry.store import Registry, open_store


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


def check_version(registry: Registry, version: str) -> None:
    """Do nothing if a registered version is, to the byte, what was registered.

    Raises:
        InvalidInput: ``version`` is not 12 hex digits, or another release of Hakka wrote it.
        NotFound: it is not registered.
        Tampered: its record or one of its files was changed, or is missing.
        Unavailable: the registry cannot be reached.
    """
    read_model_info(version_folder(registry, version))


def register(model: Path, evaluation: Path, registry: Registry, lineage: Mapping[str, str]) -> str:
    """Put a model folder and its metrics into the registry and return its version.

    The version appears whole, and once: one that is there already stays as it is, whoever comes second. Its record gets
    metrics and lineage, and a digest over them too.

    Raises:
        NotFound: ``model`` holds no model.
        Tampered: the record or a file of the model does not have its digest.
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
    files = {name: model / name for name in sorted(info.raw["files"])}
    content = json.dumps(seal(record), indent=2, ensure_ascii=False) + "\n"
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
        Tampered: one was changed.
        Unavailable: the registry cannot be reached.
    """
    records, problems = look_at_versions(registry)
    if problems:
        raise problems[0]
    return records


def look_at_versions(registry: Registry) -> tuple[list[dict[str, Any]], list[HakkaError]]:
    """The ``model.json`` of every version that is as it was registered, oldest first, and what is wrong with others.

    Raises:
        Unavailable: the registry cannot be reached.
    """
    records: list[dict[str, Any]] = []
    problems: list[HakkaError] = []
    for name in filter(VERSION.fullmatch, open_store(registry).names("versions")):
        try:
            records.append(read_version(registry, name))
        except NotFound:  # its upload is under way
            continue
        except (InvalidInput, Tampered) as error:
            problems.append(error)
    return sorted(records, key=lambda record: (record["created"], record["version"])), problems


def read_version(registry: Registry, version: str) -> dict[str, Any]:
    """The ``model.json`` of one version, without a look at its files.

    Raises:
        InvalidInput: it is not a version's record.
        Tampered: it was changed, or is another version's.
        NotFound: the version is not registered.
        Unavailable: the registry cannot be reached.
    """
    content = open_store(registry).read(f"versions/{version}/{RECORD}")
    if content is None:
        raise NotFound(f"version {version} is not in the registry {registry}")
    place = f"{registry}/versions/{version}/{RECORD}"
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{place}: not valid JSON: {error}") from None
    check_record(place, record)
    if record["version"] != version:
        raise Tampered(f"{place}: must be the record of version {version}, it is that of {record['version']}")
    kinds = {"version": str, "created": str, "names": list, "metrics": dict, "data": dict}
    if any(not isinstance(record.get(key), kind) for key, kind in kinds.items()):
        raise InvalidInput(f"{place}: not a version's record: it needs {', '.join(kinds)}")
    return dict(record)

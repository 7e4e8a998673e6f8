"""Versions: ``<registry>/versions/<version>/`` holds the model files, ``model.json`` and ``reference.parquet``."""

import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hakka.detector.modelfile import read_model_info
from hakka.errors import InvalidInput, NotFound
from hakka.files import link_file, read_json, write_json

VERSION = re.compile(r"[0-9a-f]{12}")


def version_folder(registry: Path, version: str) -> Path:
    """Where a registered version lies.

    Raises:
        InvalidInput: ``version`` is not 12 hex digits.
        NotFound: it is not registered.
    """
    if not VERSION.fullmatch(version):
        raise InvalidInput(f"version must be 12 hex digits, got {version!r}")
    folder = registry / "versions" / version
    if not (folder / "model.json").is_file():
        raise NotFound(f"version {version} is not in the registry {registry}")
    return folder


def register(model: Path, evaluation: Path, registry: Path, lineage: Mapping[str, str]) -> str:
    """Put a model folder and its metrics into the registry and return its version.

    The folder appears whole, and once: a version that is there already stays as it is, whoever comes second.

    Raises:
        NotFound: ``model`` holds no model.
        Tampered: a model file does not have its digest.
        InvalidInput: the evaluation is of another model.
    """
    info = read_model_info(model)
    metrics = read_json(evaluation / "metrics.json")
    if metrics.get("version") != info.version:
        raise InvalidInput(f"{evaluation}: must evaluate version {info.version}, got {metrics.get('version')}")
    target = registry / "versions" / info.version
    if target.exists():
        return info.version
    record = {
        **info.raw,
        "data": {**info.raw.get("data", {}), "source": lineage.get("data"), "revision": lineage.get("data_revision")},
        "metrics": {key: metrics[key] for key in ("map50", "map50_95", "images", "boxes", "per_class")},
        "clearml_task": lineage.get("clearml_task"),
        "kfp_run": lineage.get("run"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{info.version}.", dir=target.parent))
    try:
        scratch.chmod(0o755)
        for source in sorted(model.iterdir()):
            if source.name in info.raw["files"] or source.name == "reference.parquet":
                link_file(source, scratch / source.name)
        write_json(scratch / "model.json", record)
        os.rename(scratch, target)
    except OSError:
        shutil.rmtree(scratch, ignore_errors=True)
        if not (target / "model.json").is_file():  # else another writer was first with the same bytes
            raise
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return info.version


def publish(model: Path, evaluation: Path, registry: Path, *, channel: str, lineage: Mapping[str, str]) -> str:
    """Register a model and point ``channel`` at it; run twice, it does the same once. Raises as the two do."""
    from hakka.registry.channels import promote

    version = register(model, evaluation, registry, lineage)
    promote(registry, version, channel)
    return version


def list_versions(registry: Path) -> list[dict[str, Any]]:
    """The ``model.json`` of every version, oldest first.

    Raises:
        InvalidInput: one is not a version's record.
    """
    records = [_read_record(path) for path in sorted((registry / "versions").glob("[0-9a-f]*/model.json"))]
    return sorted(records, key=lambda record: (record["created"], record["version"]))


def _read_record(path: Path) -> dict[str, Any]:
    record = read_json(path)
    kinds = {"version": str, "created": str, "names": list, "metrics": dict, "data": dict}
    if not isinstance(record, dict) or any(not isinstance(record.get(key), kind) for key, kind in kinds.items()):
        raise InvalidInput(f"{path}: not a version's record: it needs {', '.join(kinds)}")
    return record

"""``model.json``: the one record of what a model is. Class names, input size and thresholds are read from here only.

Two digests stand in it. ``version`` is the model's name: 12 hex digits over what decides its answers. ``digest`` is a
SHA-256 over all the rest of the record, in which ``files`` holds that of every file. So nothing in a model folder can
change unnoticed. They are checksums, no signatures: who may write a registry can also add a version to it.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hakka.errors import InvalidInput, NotFound, Tampered
from hakka.files import canonical_json, read_json, sha256_file, write_json
from hakka.texts import short

FORMAT = 2
RECORD = "model.json"
REFERENCE = "reference.parquet"
SERVED_FILES = ("model.bin", "model.onnx", "model.xml", "weights.safetensors")
ANSWER_KEYS = ("names", "imgsz", "stride", "thresholds", "nms_free")  # what decides the answers beside those files
VERSION = re.compile(r"[0-9a-f]{12}")
DEFAULT_CONFIDENCE = 0.25
MOST_PIXELS = 8192  # of a side of the input; far more than any detector's
DEFAULT_IOU = 0.5  # lower than the 0.7 of benchmarks: two boxes on one thing look wrong to a person


@dataclass(frozen=True)
class ModelInfo:
    """A model's identity. ``raw`` is the whole record, with lineage and metrics.

    ``imgsz`` is the longer side of its input. The shorter one may be any multiple of ``stride`` up to that (see
    :func:`hakka.detector.fit.input_shape`); without a stride the input is a square.
    """

    version: str
    names: tuple[str, ...]
    imgsz: int
    confidence: float
    iou: float
    stride: int | None
    raw: dict[str, Any]


def read_model_info(folder: Path) -> ModelInfo:
    """The record of a model folder, after the record and every file were checked against their digests.

    Raises:
        NotFound: there is no ``model.json``.
        InvalidInput: ``model.json`` is not one that this release of Hakka reads.
        Tampered: the record was changed; a file was, is missing or is not in the record; or the folder has the name of
            another version.
    """
    path = folder / RECORD
    if not path.is_file():
        raise NotFound(f"{folder}: no model here ({RECORD} is missing)")
    raw = read_json(path)
    _check_format(str(path), raw)
    info = _parse(str(path), raw)
    check_record(str(path), raw)
    _check_files(folder, raw["files"])
    if VERSION.fullmatch(folder.name) and folder.name != info.version:
        raise Tampered(f"{folder}: a version's folder must hold that version, it holds {info.version}")
    return info


def check_record(place: str, record: Any) -> None:
    """Do nothing if a record has the digests that it names. ``place`` is where it was read.

    Raises:
        InvalidInput: it is not one that this release of Hakka reads.
        Tampered: it was changed after it was written.
    """
    _check_format(place, record)
    try:
        sealed = seal(record)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{place}: not a model record: {error!r}") from None
    if sealed["version"] != record.get("version"):
        raise Tampered(
            f"{place}: its files, names, size and thresholds make version {sealed['version']}, "
            f"it says {short(record.get('version'))}"
        )
    if sealed["digest"] != record.get("digest"):
        wanted, got = (str(digest)[:12] for digest in (sealed["digest"], record.get("digest")))
        raise Tampered(f"{place}: it was changed: its digest must be {wanted}, got {got}")


def _check_format(place: str, record: Any) -> None:
    found = record.get("format") if isinstance(record, dict) else type(record).__name__
    if found != FORMAT:
        raise InvalidInput(f"{place}: format must be {FORMAT}, got {short(found)}: another release of Hakka wrote it")


def seal(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with the ``version`` and the ``digest`` that the rest of it makes."""
    answers = {key: record[key] for key in ANSWER_KEYS if key in record}
    files = {name: digest for name, digest in record["files"].items() if name in SERVED_FILES}
    rest = {key: value for key, value in record.items() if key not in ("version", "digest")}
    rest["version"] = hashlib.sha256(canonical_json({**answers, "files": files})).hexdigest()[:12]
    return rest | {"digest": hashlib.sha256(canonical_json(rest)).hexdigest()}


def write_record(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``model.json``: the record with the digests of the folder's files, sealed. Gives what was written."""
    sealed = seal({**record, "files": _digest_files(folder)})
    write_json(folder / RECORD, sealed)
    return sealed


def _digest_files(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a model that is there, by name."""
    return {name: sha256_file(folder / name) for name in (*SERVED_FILES, REFERENCE) if (folder / name).is_file()}


def _check_files(folder: Path, expected: dict[str, Any]) -> None:
    found = _digest_files(folder)
    for name in expected | found:
        if found.get(name) != expected.get(name):
            wanted, got = (str(digests.get(name, "no file"))[:12] for digests in (expected, found))
            raise Tampered(f"{folder / name}: its SHA-256 must be {wanted}, got {got}")


def _parse(path: str, raw: Any) -> ModelInfo:
    try:
        info = ModelInfo(
            version=raw["version"],
            names=tuple(raw["names"]),
            imgsz=int(raw["imgsz"]),
            confidence=float(raw["thresholds"]["confidence"]),
            iou=float(raw["thresholds"]["iou"]),
            stride=int(raw["stride"]) if "stride" in raw else None,
            raw=raw,
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(f"{path}: not a model record: {error!r}") from None
    if not 1 <= info.imgsz <= MOST_PIXELS:
        raise InvalidInput(f"{path}: imgsz must be from 1 to {MOST_PIXELS}, got {info.imgsz}")
    if info.stride is not None and (info.stride < 1 or info.imgsz % info.stride):
        raise InvalidInput(f"{path}: stride must divide the imgsz of {info.imgsz}, got {info.stride}")
    return info

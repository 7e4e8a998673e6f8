"""``model.json``: the one record of what a model is. Class names, input size and thresholds are read from here only."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hakka.errors import InvalidInput, NotFound, Tampered
from hakka.files import canonical_json, read_json, sha256_file

FORMAT = 1
SERVED_FILES = ("model.bin", "model.onnx", "model.xml", "weights.safetensors")
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


def read_model_info(folder: Path, *, verify: bool = True) -> ModelInfo:
    """The record of a model folder; with ``verify`` every file is checked against its digest first.

    Raises:
        NotFound: there is no ``model.json``.
        InvalidInput: ``model.json`` is not one that this version of Hakka reads.
        Tampered: a file is missing, or does not have the digest that ``model.json`` names.
    """
    path = folder / "model.json"
    if not path.is_file():
        raise NotFound(f"{folder}: no model here (model.json is missing)")
    raw = read_json(path)
    try:
        if raw["format"] != FORMAT:
            raise InvalidInput(f"{path}: format must be {FORMAT}, got {raw['format']!r}")
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
    if verify:
        _verify_files(folder, raw["files"], info)
    return info


def model_version(files: dict[str, str], names: tuple[str, ...], imgsz: int) -> str:
    """The version of a model: 12 hex digits over its files' digests, class names and input size."""
    import hashlib

    record = {"files": files, "names": list(names), "imgsz": imgsz}
    return hashlib.sha256(canonical_json(record)).hexdigest()[:12]


def digest_files(folder: Path) -> dict[str, str]:
    """SHA-256 of each model file that is there, by name."""
    return {name: sha256_file(folder / name) for name in SERVED_FILES if (folder / name).is_file()}


def _verify_files(folder: Path, files: dict[str, str], info: ModelInfo) -> None:
    for name, digest in files.items():
        path = folder / name
        found = sha256_file(path) if path.is_file() else "no file"
        if found != digest:
            raise Tampered(f"{path}: its SHA-256 must be {digest[:12]}…, got {found[:12]}")
    version = model_version(files, info.names, info.imgsz)
    if version != info.version:
        raise Tampered(
            f"{folder / 'model.json'}: the files, names and size make version {version}, it says {info.version}"
        )

"""A checkpoint as something to serve: OpenVINO IR and ONNX with ``model.json``, no pickle, no torch needed."""

import contextlib
import io
import logging
import re
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hakka import __version__
from hakka.data.dataset import Dataset, load_dataset
from hakka.detector.checkpoint import Checkpoint, load_checkpoint
from hakka.detector.decode import decode_image
from hakka.detector.engine import load_openvino
from hakka.detector.evaluate import detect_entries, measure_map50
from hakka.detector.fit import least_side
from hakka.detector.modelfile import (
    DEFAULT_CONFIDENCE,
    DEFAULT_IOU,
    FORMAT,
    REFERENCE,
    write_record,
)
from hakka.detector.quantize import quantize
from hakka.detector.runtime import load_detector, photo_features
from hakka.detector.torch_compat import load_ultralytics
from hakka.errors import InvalidInput
from hakka.files import link_file, whole_folder
from hakka.monitor.rows import row, write_rows
from hakka.params import read_section
from hakka.settings import read_settings

LOGGER = logging.getLogger(__name__)
PRECISIONS = ("fp32", "int8")


@dataclass(frozen=True)
class ExportParams:
    """Section ``export`` of params.yaml.

    ``nms_free_budget``: mAP50 on the val images that an NMS-free head may cost before the head with NMS is taken.
    ``precision``: fp32 or int8; ``int8_budget``: mAP50 on the val images that int8 may cost, beyond it fp32 is served;
    ``calibration_images``: training images from which int8 takes its ranges.
    """

    nms_free_budget: float
    precision: str
    int8_budget: float
    calibration_images: int

    def __post_init__(self) -> None:
        for name in ("nms_free_budget", "int8_budget"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidInput(f"export.{name} must be from 0 to 1, got {getattr(self, name)}")
        if self.precision not in PRECISIONS:
            raise InvalidInput(f"export.precision must be {' or '.join(PRECISIONS)}, got {self.precision!r}")
        if self.calibration_images < 1:
            raise InvalidInput(f"export.calibration_images must be 1 or more, got {self.calibration_images}")


def export(
    checkpoint: Path, dataset: Path, root: Path, out: Path, params: ExportParams | None = None
) -> dict[str, Any]:
    """Write the model folder of ``checkpoint`` (a file, or a folder with ``weights.safetensors``) to ``out``.

    A model with two heads is exported with its NMS-free one, unless that costs more than ``params.nms_free_budget``
    (default: params.yaml) on the val images: trained briefly, it learns more slowly than the head that needs NMS.
    ``dataset`` is the converted dataset that it was trained on, with its images under ``root``. What the exported model
    answers on its val and test images becomes ``reference.parquet``, which the drift watch compares with. Returns the
    content of ``model.json``: what is known before evaluation, that is without metrics and lineage.

    Raises:
        InvalidInput: the checkpoint or the dataset cannot be read.
        NotFound: an image is missing.
    """
    source = checkpoint / "weights.safetensors" if checkpoint.is_dir() else checkpoint
    loaded = load_checkpoint(source)
    data = load_dataset(dataset)
    load_ultralytics(read_settings().home / "ultralytics")
    params = params or read_section(ExportParams, "export")
    with whole_folder(out) as folder:
        record = _choose_head(loaded, source, data, root, folder, params)
        if params.precision == "int8":
            record = _quantize_within_budget(record, data, root, folder, params)
        _write_reference(folder, data, root)
        return write_record(folder, record)


def _choose_head(
    checkpoint: Checkpoint, source: Path, data: Dataset, root: Path, folder: Path, params: ExportParams
) -> dict[str, Any]:
    """Write the model files and record of the head that is to be served into ``folder`` and give the record."""
    record = _write_model(checkpoint, source, data, folder, nms_free=_has_nms_free_head(checkpoint))
    if not _has_nms_free_head(checkpoint):
        return record
    with tempfile.TemporaryDirectory(prefix=".head-", dir=folder.parent) as scratch:
        other = Path(scratch)
        with_nms = _write_model(checkpoint, source, data, other, nms_free=False)
        free, other_map = (measure_map50(load_detector(path), data, "val", root) for path in (folder, other))
        taken = "NMS-free" if other_map - free <= params.nms_free_budget else "with NMS"
        print(f"val mAP50 is {free:.3f} NMS-free and {other_map:.3f} with NMS: exported {taken}", flush=True)
        if taken == "NMS-free":
            return record
        for path in sorted(other.iterdir()):
            path.replace(folder / path.name)
        return with_nms


def _quantize_within_budget(
    record: dict[str, Any], data: Dataset, root: Path, folder: Path, params: ExportParams
) -> dict[str, Any]:
    """Put the int8 model in the place of ``folder``'s OpenVINO model if that costs no more than the budget.

    ``model.onnx`` stays fp32. Gives the record of what is served; both mAP50 stand in it.
    """
    with tempfile.TemporaryDirectory(prefix=".int8-", dir=folder.parent) as scratch:
        other = Path(scratch)
        entries = data.split("train")[:: max(1, len(data.split("train")) // params.calibration_images)]
        images = (decode_image((root / entry.image).read_bytes()) for entry in entries[: params.calibration_images])
        for name in ("model.onnx", "weights.safetensors"):
            link_file(folder / name, other / name)
        quantize(folder / "model.xml", other / "model.xml", images, record["imgsz"], record["stride"])
        quantized = write_record(other, record)
        full, low = (measure_map50(load_detector(path), data, "val", root) for path in (folder, other))
        taken = full - low <= params.int8_budget
        measured = {"val_map50_fp32": round(full, 6), "val_map50_int8": round(low, 6), "budget": params.int8_budget}
        print(
            f"val mAP50 is {full:.3f} in fp32 and {low:.3f} in int8: exported {'int8' if taken else 'fp32'}", flush=True
        )
        if not taken:
            LOGGER.warning("int8 costs %.3f mAP50, more than its budget of %.3f", full - low, params.int8_budget)
            return write_record(folder, record | {"int8": measured})
        for name in ("model.xml", "model.bin"):
            (other / name).replace(folder / name)
        return write_record(folder, quantized | {"precision": "int8", "int8": measured})


def _write_model(
    checkpoint: Checkpoint, source: Path, data: Dataset, folder: Path, *, nms_free: bool
) -> dict[str, Any]:
    shutil.copyfile(source, folder / "weights.safetensors")
    module = checkpoint.build()
    _write_onnx(module, checkpoint.imgsz, folder / "model.onnx", nms_free=nms_free)
    _write_openvino(folder / "model.onnx", folder / "model.xml")
    record: dict[str, Any] = {
        "format": FORMAT,
        "name": "hakka",
        "names": list(checkpoint.names),
        "imgsz": checkpoint.imgsz,
        "stride": int(module.stride.max()),
        "thresholds": {"confidence": DEFAULT_CONFIDENCE, "iou": DEFAULT_IOU},
        "nms_free": nms_free,
        "precision": "fp32",
        "data": {"digest": data.digest},
        "code": {"version": __version__},
    }
    return write_record(folder, record)


def _has_nms_free_head(checkpoint: Checkpoint) -> bool:
    """Whether the architecture has a second head that gives one box a thing."""
    return any(".one2one_cv2." in key for key in checkpoint.tensors)


def _write_reference(folder: Path, data: Dataset, root: Path) -> None:
    """What a healthy prediction log looks like: a row for each val and test image, with its digest as the id."""
    detector = load_detector(folder)
    rows = [
        row(
            version=detector.info.version,
            features=photo_features(seen.photo),
            boxes=seen.found.boxes.tolist(),
            classes=[detector.names[i] for i in seen.found.class_ids],
            confidences=seen.found.scores.tolist(),
            prediction_id=seen.entry.sha256[:32],
            time=datetime.fromtimestamp(0, UTC),
        )
        for seen in detect_entries(detector, data.split("val") + data.split("test"), root, None)
    ]
    write_rows(folder / REFERENCE, rows)


def _write_onnx(module: Any, imgsz: int, path: Path, *, nms_free: bool) -> None:
    """Write the ONNX file, for pictures of any shape: rows of an NMS-free head, or raw predictions that need NMS."""
    from ultralytics.engine.exporter import Exporter
    from ultralytics.utils import DEFAULT_CFG_DICT

    module.args = DEFAULT_CFG_DICT | {"imgsz": imgsz}
    strides = module.stride.int().tolist()
    flattest = sum((imgsz // stride) * (least_side(imgsz, max(strides)) // stride) for stride in strides)
    scratch = Path(tempfile.mkdtemp(prefix=".onnx-", dir=path.parent))
    try:
        module.pt_path = str(scratch / "model.pt")
        overrides = {
            "format": "onnx",
            "imgsz": imgsz,
            "batch": 1,
            "dynamic": True,
            "max_det": min(DEFAULT_CFG_DICT["max_det"], flattest),  # rows that an NMS-free head gives at every shape
            "device": "cpu",
            "simplify": True,
            "nms": False if nms_free else None,
            "mode": "export",
        }
        with contextlib.redirect_stdout(io.StringIO()):
            written = Exporter(overrides=overrides)(model=module)
        _strip_onnx(Path(str(written)), path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _strip_onnx(source: Path, target: Path) -> None:
    """Drop the exporter's metadata (dates, paths) and shapes (formulas, written one way or another), so that the same
    weights give the same bytes.
    """
    import onnx

    model = onnx.load(str(source))
    del model.metadata_props[:]
    del model.graph.value_info[:]
    onnx.save(model, str(target))


def _write_openvino(onnx_path: Path, xml_path: Path) -> None:
    openvino = load_openvino()
    model = openvino.convert_model(str(onnx_path))
    # The same weights must give the same bytes: what has no name in the ONNX file is numbered by a counter of the
    # process, and the conversion notes the path of that file.
    for number, node in enumerate(model.get_ordered_ops()):
        if re.fullmatch(r"\w+_\d+", node.get_friendly_name()) or node.get_type_name() == "Constant":
            node.set_friendly_name(f"{node.get_type_name()}_{number}")
    for part in ("conversion_parameters", "legacy_frontend"):
        with contextlib.suppress(RuntimeError):
            model.set_rt_info("", part)
    openvino.save_model(model, str(xml_path), compress_to_fp16=False)

"""A checkpoint as something to serve: OpenVINO IR and ONNX with ``model.json``, no pickle, no torch needed."""

import contextlib
import io
import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hakka import __version__
from hakka.data.dataset import Dataset, load_dataset
from hakka.detector.checkpoint import Checkpoint, load_checkpoint
from hakka.detector.evaluate import detect_entries
from hakka.detector.modelfile import (
    DEFAULT_CONFIDENCE,
    DEFAULT_IOU,
    FORMAT,
    digest_files,
    model_version,
)
from hakka.detector.runtime import image_features, load_detector
from hakka.detector.torch_compat import load_ultralytics
from hakka.files import whole_folder, write_json
from hakka.monitor.log import row, write_rows
from hakka.settings import read_settings


def export(checkpoint: Path, dataset: Path, root: Path, out: Path) -> dict[str, Any]:
    """Write the model folder of ``checkpoint`` (a file, or a folder with ``weights.safetensors``) to ``out``.

    ``dataset`` is the converted dataset that it was trained on, with its images under ``root``. What the exported model
    answers on its val images becomes ``reference.parquet``, which the drift watch compares with. Returns the content of
    ``model.json``: what is known before evaluation, that is without metrics and lineage.

    Raises:
        InvalidInput: the checkpoint or the dataset cannot be read.
        NotFound: an image is missing.
    """
    source = checkpoint / "weights.safetensors" if checkpoint.is_dir() else checkpoint
    loaded = load_checkpoint(source)
    data = load_dataset(dataset)
    load_ultralytics(read_settings().home / "ultralytics")
    with whole_folder(out) as folder:
        shutil.copyfile(source, folder / "weights.safetensors")
        _write_onnx(loaded, folder / "model.onnx")
        _write_openvino(folder / "model.onnx", folder / "model.xml")
        files = digest_files(folder)
        record: dict[str, Any] = {
            "format": FORMAT,
            "name": "hakka",
            "version": model_version(files, loaded.names, loaded.imgsz),
            "names": list(loaded.names),
            "imgsz": loaded.imgsz,
            "thresholds": {"confidence": DEFAULT_CONFIDENCE, "iou": DEFAULT_IOU},
            "files": files,
            "data": {"digest": data.digest},
            "code": {"version": __version__},
        }
        write_json(folder / "model.json", record)
        _write_reference(folder, data, root)
    return record


def _write_reference(folder: Path, data: Dataset, root: Path) -> None:
    """What a healthy prediction log looks like: a row for each val image, with the image's digest as its id."""
    detector = load_detector(folder)
    rows = [
        row(
            version=detector.info.version,
            features=image_features(pixels),
            boxes=found.boxes.tolist(),
            classes=[detector.names[i] for i in found.class_ids],
            confidences=found.scores.tolist(),
            prediction_id=entry.sha256[:32],
            time=datetime.fromtimestamp(0, UTC),
        )
        for entry, pixels, found in detect_entries(detector, data.split("val"), root, None)
    ]
    write_rows(folder / "reference.parquet", rows)


def _write_onnx(checkpoint: Checkpoint, path: Path) -> None:
    """Write the ONNX file: the NMS-free head where the model has one, raw predictions elsewhere."""
    from ultralytics.engine.exporter import Exporter
    from ultralytics.utils import DEFAULT_CFG_DICT

    module = checkpoint.build()
    module.args = DEFAULT_CFG_DICT | {"imgsz": checkpoint.imgsz}
    nms_free = getattr(module.model[-1], "one2one_cv2", None) is not None
    scratch = Path(tempfile.mkdtemp(prefix=".onnx-", dir=path.parent))
    try:
        module.pt_path = str(scratch / "model.pt")
        overrides = {
            "format": "onnx",
            "imgsz": checkpoint.imgsz,
            "batch": 1,
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
    """Drop the exporter's metadata (dates, paths), so that the same weights give the same bytes."""
    import onnx

    model = onnx.load(str(source))
    del model.metadata_props[:]
    onnx.save(model, str(target))


def _write_openvino(onnx_path: Path, xml_path: Path) -> None:
    os.environ["DO_NOT_TRACK"] = "1"
    import openvino

    model = openvino.convert_model(str(onnx_path))
    # The same weights must give the same bytes: unnamed constants are numbered by a counter of the process,
    # and the conversion notes the path of the ONNX file.
    for number, node in enumerate(model.get_ordered_ops()):
        if node.get_type_name() == "Constant":
            node.set_friendly_name(f"constant_{number}")
    for part in ("conversion_parameters", "legacy_frontend"):
        with contextlib.suppress(RuntimeError):
            model.set_rt_info("", part)
    openvino.save_model(model, str(xml_path), compress_to_fp16=False)

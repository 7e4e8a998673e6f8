"""Model folders to measure: ``python benchmarks/models.py MODEL SIZE OUT`` makes one for squares of SIZE pixels.

MODEL is a checkpoint of a training (weights.safetensors), whatever size it was trained at, or ultralytics' name of an
architecture, such as yolo26n: with random weights it finds nothing, but takes the time of a trained one.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from hakka.data.convert import convert  # noqa: E402
from hakka.detector.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from hakka.detector.decode import decode_image  # noqa: E402
from hakka.detector.export import export  # noqa: E402
from hakka.detector.modelfile import read_model_info, write_record  # noqa: E402
from hakka.detector.quantize import quantize  # noqa: E402
from hakka.detector.torch_compat import load_ultralytics  # noqa: E402
from hakka.settings import read_settings  # noqa: E402

CLASSES = 31


def make_model(model: str, size: int, out: Path) -> None:
    """Export a checkpoint or an architecture as ``hakka export`` does."""
    load_ultralytics(read_settings().home / "ultralytics")
    from ultralytics.nn.tasks import DetectionModel

    if Path(model).is_file():
        module = load_checkpoint(Path(model)).build()
    else:
        module = DetectionModel(f"{model}.yaml", nc=CLASSES, verbose=False)
        module.names = {number: f"class_{number}" for number in range(CLASSES)}
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint, dataset = Path(scratch) / "weights.safetensors", Path(scratch) / "dataset"
        save_checkpoint(checkpoint, module, size)
        convert(ROOT / "sample", dataset)
        export(checkpoint, dataset, ROOT / "sample", out)


def quantized_model(folder: Path, photos: Iterable[bytes], out: Path) -> Path:
    """Write ``folder``'s model as INT8, calibrated on some photos, as ``hakka export`` does at that precision."""
    info = read_model_info(folder)
    out.mkdir()
    for name in ("model.onnx", "weights.safetensors"):
        shutil.copyfile(folder / name, out / name)
    quantize(folder / "model.xml", out / "model.xml", map(decode_image, photos), info.imgsz, info.stride)
    write_record(out, info.raw | {"precision": "int8"})
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("size", type=int)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    make_model(options.model, options.size, options.out)

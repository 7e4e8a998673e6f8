"""ultralytics on this machine's torch: quiet, offline unless asked, and with a torchvision that imports.

The torchvision wheel of the public index is built for CUDA. Beside a CPU build of torch its C++ operators do not load,
so ``torchvision::nms`` is never registered and ``import torchvision`` fails. ultralytics' validator needs that import
but works with any implementation of nms, and ships one in plain torch. :func:`repair_torchvision` joins the two, and
only then.
"""

import importlib
import importlib.metadata
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

OFFLINE = "YOLO_OFFLINE"
HAKKA_SAYS_OFFLINE = "yes"  # ultralytics takes it as true, and it tells our word from the user's "true" or "1"


def load_ultralytics(config: Path) -> ModuleType:
    """The ultralytics package, ready for use: own settings folder, no telemetry, no auto-install, safe unpickling.

    It tries no connection, except within :func:`network`. Safe to call again.
    """
    config.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("YOLO_CONFIG_DIR", str(config))
    # Threads that wait by spinning bring training almost to a halt where another process wants the cores too.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if OFFLINE not in os.environ:
        os.environ[OFFLINE] = HAKKA_SAYS_OFFLINE
    os.environ.update(
        YOLO_AUTOINSTALL="false",
        YOLO_VERBOSE=os.environ.get("YOLO_VERBOSE", "false"),
        ULTRALYTICS_SAFE_LOAD="true",
        ORT_DISABLE_TELEMETRY="1",
        DO_NOT_TRACK="1",
        NO_ALBUMENTATIONS_UPDATE="1",
    )
    logging.getLogger("matplotlib.font_manager").setLevel(logging.WARNING)  # it tells of its font cache once
    _provide_label_font(config / "Ultralytics")
    repair_torchvision()
    pillow: Any = importlib.import_module("PIL.Image")
    opening = pillow.open
    ultralytics = importlib.import_module("ultralytics")
    pillow.open = opening  # with theirs a file that is no image would be told as a missing HEIC library
    # Every tracker that ultralytics finds installed would fire by itself; Hakka does its own tracking.
    integrations = ("clearml", "comet", "dvc", "hub", "mlflow", "neptune", "raytune", "tensorboard", "wandb")
    quiet = {name: False for name in (*integrations, "sync") if name in ultralytics.settings}
    if any(ultralytics.settings[name] for name in quiet):
        ultralytics.settings.update(quiet)
    return ultralytics


@contextmanager
def network() -> Iterator[None]:
    """Let ultralytics use the network within the block, to download weights; not where the user set YOLO_OFFLINE."""
    before = os.environ.get(OFFLINE)
    if before == HAKKA_SAYS_OFFLINE:
        os.environ[OFFLINE] = "false"
    try:
        yield
    finally:
        if before is not None:
            os.environ[OFFLINE] = before


def repair_torchvision() -> bool:
    """Make ``import torchvision`` work where a CPU torch meets a CUDA torchvision; says whether it had to.

    Does nothing where the two match, where torchvision is missing, and on the second call.
    """
    import torch

    if torch.version.cuda is not None or not _torchvision_wants_cuda() or hasattr(torch.ops.torchvision, "nms"):
        return False
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", _nms, "CPU")
    _KEPT.append(library)  # the registration lives as long as this object
    extension: Any = importlib.import_module("torchvision.extension")
    extension._has_ops = lambda: True
    return True


_KEPT: list[Any] = []


def _torchvision_wants_cuda() -> bool:
    """Whether the installed torchvision was built for CUDA, told from its files without importing it."""
    try:
        files = importlib.metadata.files("torchvision") or []
    except importlib.metadata.PackageNotFoundError:
        return False
    version = next((file for file in files if str(file) == "torchvision/version.py"), None)
    return version is not None and re.search(r"__version__ = '[^']*\+cu\d", version.read_text()) is not None


def _nms(boxes: Any, scores: Any, iou_threshold: float) -> Any:
    from ultralytics.utils.nms import TorchNMS

    return TorchNMS.nms(boxes, scores, iou_threshold)


def _provide_label_font(folder: Path) -> None:
    """Put a font where ultralytics looks for one; it would download Arial otherwise."""
    font = folder / "Arial.ttf"
    if font.exists():
        return
    import matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    source = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    scratch = folder / f".Arial.{os.getpid()}"
    scratch.write_bytes(source.read_bytes())
    scratch.replace(font)

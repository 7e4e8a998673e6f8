"""Training: a converted dataset and starting weights in, a checkpoint out."""

import hashlib
import math
import re
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hakka.cores import usable_cores
from hakka.data.dataset import Dataset, load_dataset, materialize
from hakka.detector.checkpoint import save_checkpoint
from hakka.detector.parallel import run_trainer, run_trainers
from hakka.detector.snapshots import Snapshots
from hakka.detector.torch_compat import load_ultralytics
from hakka.detector.trainer import write_best
from hakka.detector.weights import NAME, Start, build_module, check_weights, find_start
from hakka.errors import InvalidInput, Unavailable
from hakka.files import canonical_json, sha256_file, write_json
from hakka.settings import read_settings
from hakka.texts import short

KNOWN_CLASSES_EPOCHS = 6
NEW_CLASSES_EPOCHS = 60
MOST_SHARE = 0.9  # of a model's values that are those of the weights, for the weights to be a start that knows classes
AUGMENTATIONS = (
    *("hsv_h", "hsv_s", "hsv_v", "degrees", "translate", "scale", "shear", "perspective", "flipud", "fliplr"),
    *("bgr", "mixup", "cutmix", "erasing", "multi_scale"),
)
UNBOUNDED = ("degrees", "shear")  # ultralytics takes the others from 0 to 1
BATCH_PER_GPU = 16  # of several; what fits is measured for a single one
NO_CHECKPOINT = "training ended without a checkpoint: every loss was NaN; lower train.learning_rate"


@dataclass(frozen=True)
class TrainParams:
    """Section ``train`` of params.yaml.

    ``epochs`` 0 and ``learning_rate`` 0 mean: chosen from the starting weights; ``batch`` 0: what fits the GPU (16 on a
    CPU, and for each of several GPUs). ``trust_weights`` lets a checkpoint run code while it loads. ``device`` 0,1
    trains on two GPUs, in a process each. ``augment`` holds ultralytics' augmentation settings by name, those left out
    as ultralytics sets them.
    """

    weights: str
    trust_weights: bool
    model: str
    imgsz: int
    epochs: int
    batch: int
    learning_rate: float
    patience: int
    seed: int
    device: str
    mosaic: float
    augment: dict[str, float]

    def __post_init__(self) -> None:
        for name, least, most in (
            ("imgsz", 32, 4096),
            ("epochs", 0, 100_000),
            ("batch", 0, 4096),
            ("patience", 0, 100_000),
            ("seed", 0, 2**31 - 1),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise InvalidInput(f"train.{name} must be {least} to {most}, got {value}")
        if self.imgsz % 32:
            raise InvalidInput(f"train.imgsz must be a multiple of 32, got {self.imgsz}")
        if not re.fullmatch(r"auto|cpu|mps|\d+(,\d+)*", self.device):
            raise InvalidInput(f"train.device must be auto, cpu, mps, or numbers of GPUs, got {self.device!r}")
        gpus = self.device.split(",")
        if len(set(gpus)) < len(gpus):
            raise InvalidInput(f"train.device must name each GPU once, got {self.device!r}")
        if self.batch % len(gpus):
            rule = f"a multiple of the {len(gpus)} GPUs of train.device"
            raise InvalidInput(f"train.batch must be {rule}, got {self.batch}")
        if self.model and not NAME.fullmatch(self.model) and not self.model.endswith((".yaml", ".yml")):
            raise InvalidInput(f"train.model must be a YOLO name such as yolo26n, or a YAML file, got {self.model!r}")
        if not 0 <= self.learning_rate < 1:
            raise InvalidInput(f"train.learning_rate must be from 0 up to 1, got {self.learning_rate}")
        if not 0 <= self.mosaic <= 1:
            raise InvalidInput(f"train.mosaic must be from 0 to 1, got {self.mosaic}")
        for name, value in self.augment.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if name not in AUGMENTATIONS or not is_number:
                known = ", ".join(sorted(AUGMENTATIONS))
                raise InvalidInput(f"train.augment maps {known} to numbers, got {short(name)}: {short(value)}")
            if name not in UNBOUNDED and not 0 <= value <= 1:
                raise InvalidInput(f"train.augment: {name} must be from 0 to 1, got {short(value)}")


def train(dataset: Path, root: Path, out: Path, params: TrainParams) -> dict[str, Any]:
    """Train on ``dataset`` (images under ``root``) and write the checkpoint and its records into ``out``.

    ``out`` gets ``weights.safetensors`` (of the epoch that did best on the val split), ``history.json`` (one record an
    epoch) and ``train.json``, which is also returned: digest, where training started, epochs, seconds, best val mAP.
    Progress goes to stdout as plain lines.

    Killed at any moment, the same training goes on from its last whole epoch when it is run again, and ends with the
    same weights (``hakka.detector.trainer`` says when to the byte).

    Raises:
        InvalidInput: the dataset has no class, no training or val image, or no training box, or a parameter is out of
            range.
        NotFound: the starting weights do not exist.
        Unavailable: a GPU that ``params`` name is not here.
    """
    settings = read_settings()
    check_weights(params.weights, settings)
    check_device(params.device)
    data = load_dataset(dataset)
    for split in ("train", "val"):
        if not data.split(split):
            raise InvalidInput(f"{dataset}: training needs at least one image in split {split!r}, got 0")
    if not data.names:
        raise InvalidInput(f"{dataset}: training needs at least one class, got 0")
    if not any(entry.boxes for entry in data.split("train")):
        raise InvalidInput(f"{dataset}: training needs at least one box in split 'train', got 0")
    load_ultralytics(settings.home / "ultralytics")
    start = find_start(params.weights, params.model, data.names, settings, trusted=params.trust_weights)
    module, share = build_module(start, data.names, params.seed)
    epochs = params.epochs or choose_epochs(start, data.names, share)
    out.mkdir(parents=True, exist_ok=True)
    snapshots = Snapshots.claim(settings.home / "training", _key(module, data, params, epochs))
    scratch = snapshots.folder / "work"
    shutil.rmtree(scratch, ignore_errors=True)  # of a run that was killed
    began, finished = time.monotonic(), False
    try:
        data_yaml = materialize(data, root, scratch / "data", splits=("train", "val"))
        state = _run_trainer(_overrides(data_yaml, scratch, params, epochs), module, snapshots, start.source)
        best = _best_module(state, scratch / "best.pt", data.names)
        save_checkpoint(out / "weights.safetensors", best, params.imgsz)
        finished = True
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        snapshots.close(finished=finished)
    history = state["history"]
    record = {
        "weights": {"file": "weights.safetensors", "sha256": sha256_file(out / "weights.safetensors")},
        "start": start.source,
        "parameters": sum(parameter.numel() for parameter in best.parameters()),
        "epochs": len(history),
        "seconds": round(time.monotonic() - began, 1),
        "best_val_map50": max((epoch["val_map50"] for epoch in history), default=0.0),
        "params": asdict(params) | {"epochs": epochs},
    }
    write_json(out / "history.json", history)
    write_json(out / "train.json", record)
    return record


def choose_epochs(start: Start, names: tuple[str, ...], share: float) -> int:
    """Few epochs where the weights know every class already, many where the head, or more, starts from nothing."""
    return KNOWN_CLASSES_EPOCHS if set(names) <= set(start.names) and share > MOST_SHARE else NEW_CLASSES_EPOCHS


def _key(module: Any, data: Dataset, params: TrainParams, epochs: int) -> str:
    """16 hex digits over everything that decides the result of a training."""
    import torch
    import ultralytics

    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    about = asdict(params) | {"epochs": epochs, "dataset": data.digest, "names": list(data.names)}
    versions = [torch.__version__, ultralytics.__version__]
    digest.update(canonical_json([about, versions, module.yaml]))
    return digest.hexdigest()[:16]


def _overrides(data_yaml: Path, scratch: Path, params: TrainParams, epochs: int) -> dict[str, Any]:
    """Ultralytics' settings."""
    import torch

    cores, device = usable_cores(), _device(params.device)
    gpus = device.count(",") + 1
    overrides = {
        "model": "yolo26n.yaml",  # ultralytics wants a name; the trainer is given the model itself
        "data": str(data_yaml),
        "project": str(scratch),
        "name": "ultralytics",
        "epochs": epochs,
        "imgsz": params.imgsz,
        "batch": params.batch or (BATCH_PER_GPU * gpus if gpus > 1 else -1),
        "patience": params.patience or epochs,
        "seed": params.seed,
        "device": device,
        "mosaic": params.mosaic,
        "close_mosaic": min(10, epochs // 4),
        "warmup_epochs": min(3.0, epochs / 4),
        "workers": 0 if cores <= 2 else max(1, min(8, (cores - 1) // gpus)),
        "deterministic": True,
        "plots": False,
        "verbose": False,
        "amp": torch.cuda.is_available(),
        "pretrained": False,
        **params.augment,
    }
    if params.learning_rate:
        overrides |= {"optimizer": "AdamW", "lr0": params.learning_rate, "lrf": 0.05, "cos_lr": True}
    return overrides


def _run_trainer(overrides: dict[str, Any], module: Any, snapshots: Snapshots, source: str) -> dict[str, Any]:
    """Train to the end, from the snapshot if there is one, and give the last snapshot."""
    epochs, state = overrides["epochs"], snapshots.load()
    done = 0 if state is None else len(state["history"])
    if state is None:
        print(f"training {epochs} epochs at {overrides['imgsz']} px, from {source}", flush=True)
    else:
        print(f"going on after epoch {done} of {epochs}, where an earlier training was stopped", flush=True)
    if state is None or not (state["stop"] or done >= epochs):
        run = run_trainers if "," in overrides["device"] else run_trainer
        run(overrides, module, snapshots)
        state = snapshots.load()
    if state is None:
        raise InvalidInput(NO_CHECKPOINT)
    return state


def check_device(device: str) -> None:
    """Look whether the GPUs that ``train.device`` names are here.

    Raises:
        Unavailable: one of them is not.
    """
    if device.isalpha():
        return
    import torch

    here = torch.cuda.device_count()
    if max(map(int, device.split(","))) >= here:
        raise Unavailable(f"train.device must be numbers of GPUs that torch sees here ({here}), got {device!r}")


def _device(wanted: str) -> str:
    """What ultralytics is told."""
    import torch

    if wanted != "auto":
        return wanted
    return "0" if torch.cuda.is_available() else "cpu"


def _best_module(state: dict[str, Any], scratch: Path, names: tuple[str, ...]) -> Any:
    """The weights of the epoch that did best on the val split."""
    from ultralytics.nn.tasks import load_checkpoint

    write_best(scratch, state)
    if not scratch.is_file():
        raise InvalidInput(NO_CHECKPOINT)
    module, _ = load_checkpoint(str(scratch))
    module.names = dict(enumerate(names))
    return module

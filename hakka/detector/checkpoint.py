"""Training checkpoints without pickle: tensors in safetensors, everything else as JSON in its header."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hakka.errors import InvalidInput

HEADER = "hakka"


@dataclass(frozen=True)
class Checkpoint:
    """A detector that can be trained on: ultralytics' architecture record, class names, input size, tensors."""

    architecture: dict[str, Any]
    names: tuple[str, ...]
    imgsz: int
    tensors: dict[str, Any]

    def build(self) -> Any:
        """The ultralytics module with these weights, float32, in evaluation mode. Call ``load_ultralytics`` first."""
        from ultralytics.nn.tasks import DetectionModel

        module = DetectionModel(self.architecture, nc=len(self.names), verbose=False)
        # How wide the branches for classes are hangs on the number of classes, except where training started from
        # weights of another number: then they kept that width, and another model's ``load`` gives it to this one.
        branch = module.model[-1].cv3[0]
        width = self.tensors[f"model.{len(module.model) - 1}.cv3.0.{len(branch) - 1}.weight"].shape[1]
        if branch[-1].in_channels != width:
            module.load(DetectionModel(self.architecture, nc=width, verbose=False), verbose=False)
        module.load_state_dict(self.tensors, strict=True)
        module.names = dict(enumerate(self.names))
        module.task = "detect"
        return module.float().eval()


def save_checkpoint(path: Path, module: Any, imgsz: int) -> None:
    """Write an ultralytics detection module; floating tensors are stored as float16, as ultralytics stores them."""
    from safetensors.torch import save_file

    tensors = {
        key: (value.half() if value.is_floating_point() else value).contiguous().clone().cpu()
        for key, value in module.state_dict().items()
    }
    architecture = {key: value for key, value in module.yaml.items() if key not in ("yaml_file", "ch", "channels")}
    record = {
        "architecture": architecture,
        "names": [module.names[i] for i in range(len(module.names))],
        "imgsz": imgsz,
    }
    # One key only: safetensors writes several in an order that differs from run to run.
    header = {HEADER: json.dumps(record, sort_keys=True)}
    scratch = path.with_name(f".{path.name}.part")
    save_file(tensors, scratch, metadata=header)
    scratch.chmod(0o644)
    scratch.replace(path)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint that :func:`save_checkpoint` wrote.

    Raises:
        InvalidInput: the file is not such a checkpoint.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            record = json.loads((file.metadata() or {})[HEADER])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a mapping)
        return Checkpoint(record["architecture"], tuple(record["names"]), int(record["imgsz"]), tensors)
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise InvalidInput(f"{path}: not a Hakka checkpoint: {error}") from None

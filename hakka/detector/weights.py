"""Where training starts from: the starter checkpoint, a local file, or a named model that ultralytics publishes."""

import re
import sys
import tempfile
import textwrap
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

from hakka.detector.checkpoint import load_checkpoint
from hakka.detector.torch_compat import load_ultralytics, network
from hakka.errors import InvalidInput, NotFound, Unavailable
from hakka.files import own_path
from hakka.settings import Settings, read_settings

STARTER = Path(__file__).resolve().parent / "starter" / "starter.safetensors"
PUBLISHED_START = "yolo26n.pt"  # what "auto" asks for when the starter does not know the classes
GIVEN = ("auto", "starter", "scratch")  # what is always there
# A detector: what is called -seg, -cls and so on answers another question.
NAME = re.compile(r"(yolo(?:v?\d+)[nslmxbcet]?u?)(?![._-](?:cls|obb|pose|seg|sem)\b)(?:[._-].*)?", re.IGNORECASE)
LEAST_SHARE = 0.1  # of a model's values that starting weights must hold


@dataclass(frozen=True)
class Start:
    """What training starts from.

    ``source`` names it for people and for the record. ``architecture`` is what ultralytics builds a model from (a YAML
    name or its content). ``module`` holds weights with class names, ``tensors`` bare ones; both are None from scratch.
    """

    source: str
    architecture: str | dict[str, Any]
    module: Any = None
    tensors: dict[str, Any] | None = None
    names: tuple[str, ...] = ()


def find_start(
    weights: str, model: str, classes: Iterable[str], settings: Settings | None = None, *, trusted: bool = False
) -> Start:
    """What ``weights`` means on this machine.

    ``auto``: the file in HAKKA_WEIGHTS, else the published weights of ``model``, or where that is empty the starter
    checkpoint when it knows every class and the published ``yolo26n.pt`` when not. Where those cannot be had, it is any
    checkpoint in the weights folders, then the starter (with a ``model``: nothing, as from ``scratch``), and stderr
    says so. ``starter``, ``scratch``, a path, or a published name may be said instead. A name is looked for in
    HAKKA_WEIGHTS, ./weights and ../shared/weights and then downloaded. ``model`` (a YAML name) is the architecture for
    bare tensors and for ``scratch``; empty means the weights' own. ``trusted`` weights may run code while they load.

    Raises:
        NotFound: a path, or a name that ultralytics does not publish, does not exist.
        InvalidInput: the file is no checkpoint of a detector, or would run code that is not ``trusted``.
        Unavailable: a published name cannot be downloaded here.
    """
    settings = settings or read_settings()
    automatic = weights == "auto"
    if automatic:
        weights = _choose(model, classes, settings)
    if weights == "scratch":
        return Start("scratch", _yaml_name(model or "yolo26n"))
    if weights == "starter":
        return _read(STARTER, model, "starter")
    check_weights(weights, settings)
    found = look_up(weights, settings) or _download(weights, settings)
    if found is not None:
        return _read(found, model, found.name, trusted=trusted)
    missing = (
        f"weights: {weights} is not in HAKKA_WEIGHTS, ./weights or ../shared/weights and cannot be downloaded here"
    )
    if not automatic:
        raise Unavailable(missing)
    start = _any_local(model, settings)
    if start is None:
        start = Start("scratch", _yaml_name(model)) if model else _read(STARTER, "", "starter")
    print(f"weights: {missing}; starting from {start.source}", file=sys.stderr, flush=True)
    return replace(start, source=f"{start.source} (instead of {weights})")


def _choose(model: str, classes: Iterable[str], settings: Settings) -> str:
    """What ``auto`` means."""
    if settings.weights and settings.weights.is_file():
        return str(settings.weights)
    if model:
        return f"{model}.pt" if NAME.fullmatch(model) and "." not in model else "scratch"
    known = set(load_checkpoint(STARTER).names) if STARTER.is_file() else set()
    return "starter" if set(classes) <= known else PUBLISHED_START


def build_module(start: Start, names: tuple[str, ...], seed: int) -> tuple[Any, float]:
    """The detection model that training starts from, and the share (0–1) of its values that came from the weights.

    What the weights do not hold is drawn from the seed; rows of the class head go where the names say.

    Raises:
        InvalidInput: the weights hold next to nothing of the model.
    """
    import torch
    from ultralytics.nn.tasks import DetectionModel
    from ultralytics.utils.torch_utils import intersect_dicts

    torch.manual_seed(seed)
    try:
        model = DetectionModel(start.architecture, nc=len(names), ch=3, verbose=False)
    except (FileNotFoundError, AttributeError, KeyError) as error:
        told = " ".join(str(error).split())[:160]
        raise InvalidInput(f"train.model: {start.architecture} is no detector that ultralytics knows: {told}") from None
    model.names = dict(enumerate(names))
    if start.tensors is None and start.module is None:
        return model, 0.0
    if start.module is not None:
        model.load(start.module, verbose=False)
    held = intersect_dicts(start.tensors or start.module.state_dict(), model.state_dict())
    if start.module is None:
        model.load_state_dict(held, strict=False)
    share = sum(map(torch.numel, held.values())) / sum(map(torch.numel, model.state_dict().values()))
    if share < LEAST_SHARE:
        raise InvalidInput(
            f"weights: {start.source} holds {share:.1%} of the values of {_title(start.architecture)}, at least "
            f"{LEAST_SHARE:.0%} must come from it: leave train.model empty for the weights' own, or start from weights "
            "of that model, or from scratch"
        )
    return model, share


def _title(architecture: str | dict[str, Any]) -> str:
    return architecture if isinstance(architecture, str) else str(architecture.get("yaml_file", "its architecture"))


def check_weights(weights: str, settings: Settings) -> None:
    """Refuse what cannot be weights, as far as that is known without the network and without a look into a file.

    Raises:
        NotFound: it is no local file, and no name under which ultralytics may publish a detector; or HAKKA_WEIGHTS is
            none.
    """
    if settings.weights is not None and not settings.weights.exists():
        raise NotFound(f"HAKKA_WEIGHTS: there is no such file or folder: {settings.weights}")
    if weights in GIVEN or look_up(weights, settings) is not None:
        return
    if "/" in weights or not NAME.fullmatch(weights):
        raise NotFound(f"weights: {weights!r} is neither a file nor the name of a detector that ultralytics publishes")


def look_up(weights: str, settings: Settings) -> Path | None:
    """The local file that a name or path means, or None."""
    candidates = [own_path(weights), *(folder / weights for folder in _folders(settings))]
    return next((path for path in candidates if path.is_file()), None)


def local_checkpoints(settings: Settings) -> list[Path]:
    """Every checkpoint file in the weights folders, by folder and name."""
    return [
        path
        for folder in _folders(settings)
        for path in (*sorted(folder.glob("*.safetensors")), *sorted(folder.glob("*.pt")))
    ]


def _folders(settings: Settings) -> list[Path]:
    given = settings.weights
    own = [] if given is None else [given if given.is_dir() else given.parent]
    return [*own, Path("weights"), Path("../shared/weights"), settings.home / "weights"]


def _download(name: str, settings: Settings) -> Path | None:
    """The published file, fetched by ultralytics' own downloader into ``<home>/weights``; None when that fails."""
    ultralytics = load_ultralytics(settings.home / "ultralytics")
    from ultralytics.utils.downloads import attempt_download_asset

    folder = settings.home / "weights"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / (name if name.endswith(".pt") else f"{name}.pt")
    with network():
        if not ultralytics.utils.is_online():
            return None
        try:
            attempt_download_asset(str(target))
        except Exception as error:  # whatever the network does, the run goes on from other weights
            print(f"weights: {name} could not be downloaded: {' '.join(str(error).split())[:200]}", file=sys.stderr)
    return target if target.is_file() else None


def _any_local(model: str, settings: Settings) -> Start | None:
    """The first checkpoint in the weights folders that can be trained on, by folder and name."""
    for path in local_checkpoints(settings):
        with suppress(InvalidInput):
            start = _read(path, model, path.name)
            build_module(start, ("any",), 0)
            return start
    return None


def _read(path: Path, model: str, source: str, *, trusted: bool = False) -> Start:
    if not path.is_file():
        raise NotFound(f"weights: {path} does not exist")
    if path.suffix == ".safetensors":
        checkpoint = load_checkpoint(path)
        architecture = _yaml_name(model) if model else checkpoint.architecture
        return Start(source, architecture, module=checkpoint.build(), names=checkpoint.names)
    return _read_torch(path, model, source, trusted=trusted)


def _read_torch(path: Path, model: str, source: str, *, trusted: bool) -> Start:
    """A ``.pt`` file: a plain state dict, or an ultralytics checkpoint; code it may run only if it is ``trusted``."""
    import torch
    from ultralytics.nn.tasks import DetectionModel

    try:
        plain = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # not a plain state dict: ultralytics' allow-list of classes decides below
        plain = None
    if isinstance(plain, dict) and plain and all(isinstance(value, torch.Tensor) for value in plain.values()):
        tensors = {key: value.float() if value.is_floating_point() else value for key, value in plain.items()}
        match = NAME.fullmatch(path.name)
        architecture = model or (match.group(1).lower() if match else "")
        if not architecture:
            raise InvalidInput(f"{path}: a plain state dict does not say its architecture; name it with --model")
        return Start(source, _yaml_name(architecture), tensors=tensors)
    module = _unpickle(path, trusted=trusted)
    if type(module) is not DetectionModel:  # those of other tasks are subclasses
        raise InvalidInput(f"{path}: the checkpoint must be of a YOLO detector, got a {type(module).__name__}")
    names = tuple(str(module.names[i]) for i in range(len(module.names)))
    return Start(source, _yaml_name(model) if model else module.yaml, module=module, names=names)


def _unpickle(path: Path, *, trusted: bool) -> Any:
    """The module in a checkpoint of ultralytics, in float32.

    Raises:
        InvalidInput: it is none, or needs classes that are not ultralytics' or torch's own and is not ``trusted``.
    """
    from ultralytics.nn.tasks import torch_safe_load

    if not is_zipfile(path):
        raise InvalidInput(f"{path}: not a checkpoint that torch has written since version 1.6")
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "checkpoint.pt"  # by some names it would look for another file, and download that
        link.symlink_to(path.absolute())
        try:
            content, _ = torch_safe_load(str(link), safe_only=not trusted)
            return (content.get("ema") or content["model"]).float()
        except Exception as error:
            if "references types outside" in str(error):
                raise InvalidInput(
                    f"{path}: loading it would run code that it holds; if you trust where it comes from, set "
                    "train.trust_weights to true in params.yaml"
                ) from None
            reason = str(error).replace("ERROR ❌️ ", "").replace(str(link), path.name)
            raise InvalidInput(
                f"{path}: not a checkpoint of ultralytics: {textwrap.shorten(reason, 300, placeholder=' …')}"
            ) from None


def _yaml_name(model: str) -> str:
    return model if model.endswith((".yaml", ".yml")) else f"{model}.yaml"

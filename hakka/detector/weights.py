"""Where training starts from: the starter checkpoint, a local file, or a named model that ultralytics publishes."""

import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hakka.detector.checkpoint import load_checkpoint
from hakka.detector.torch_compat import load_ultralytics, network
from hakka.errors import InvalidInput, NotFound
from hakka.files import own_path
from hakka.settings import Settings, read_settings

STARTER = Path(__file__).resolve().parent / "starter" / "starter.safetensors"
PUBLISHED_START = "yolo26n.pt"  # what "auto" asks for when the starter does not know the classes
GIVEN = ("auto", "starter", "scratch")  # what is always there
NAME = re.compile(r"(yolo(?:v?\d+)[nslmx]?u?)(?:[._-].*)?", re.IGNORECASE)


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


def find_start(weights: str, model: str, classes: Iterable[str], settings: Settings | None = None) -> Start:
    """What ``weights`` means on this machine.

    ``auto``: the file in HAKKA_WEIGHTS, else the starter checkpoint when it knows every class, else the published
    ``yolo26n.pt``, else any checkpoint in the weights folders. ``starter``, ``scratch``, a path, or a published name
    may be said instead. A name is looked for in HAKKA_WEIGHTS, ./weights and ../shared/weights and then downloaded;
    where that cannot be, training starts from the starter checkpoint and says so on stderr. ``model`` (a YAML name) is
    the architecture for bare tensors and for ``scratch``; empty means the weights' own.

    Raises:
        NotFound: a path, or a name that ultralytics does not publish, does not exist.
        InvalidInput: the file is no checkpoint, or would need unsafe unpickling.
    """
    settings = settings or read_settings()
    automatic = weights == "auto"
    if automatic:
        if settings.weights and settings.weights.is_file():
            weights = str(settings.weights)
        else:
            known = set(load_checkpoint(STARTER).names) if STARTER.is_file() else set()
            weights = "starter" if set(classes) <= known else PUBLISHED_START
    if weights == "scratch":
        return Start("scratch", _yaml_name(model or "yolo26n"))
    if weights == "starter":
        return _read(STARTER, model, "starter")
    check_weights(weights, settings)
    found = look_up(weights, settings)
    if found is not None:
        return _read(found, model, found.name)
    downloaded = _download(weights, settings)
    if downloaded is not None:
        return _read(downloaded, model, downloaded.name)
    start = (_any_local(model, settings) if automatic else None) or _read(STARTER, model, "starter")
    print(
        f"weights: {weights} is not in HAKKA_WEIGHTS, ./weights or ../shared/weights and cannot be downloaded here; "
        f"starting from {start.source}",
        file=sys.stderr,
        flush=True,
    )
    return replace(start, source=f"{start.source} (instead of {weights})")


def check_weights(weights: str, settings: Settings) -> None:
    """Refuse what cannot be weights, as far as that is known without the network and without a look into a file.

    Raises:
        NotFound: it is no local file, and no name under which ultralytics may publish a model.
    """
    if weights in GIVEN or look_up(weights, settings) is not None:
        return
    if "/" in weights or not NAME.fullmatch(weights):
        raise NotFound(f"weights: {weights!r} is neither a file nor the name of a model that ultralytics publishes")


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
            return _read(path, model, path.name)
    return None


def _read(path: Path, model: str, source: str) -> Start:
    if not path.is_file():
        raise NotFound(f"weights: {path} does not exist")
    if path.suffix == ".safetensors":
        checkpoint = load_checkpoint(path)
        architecture = _yaml_name(model) if model else checkpoint.architecture
        return Start(source, architecture, module=checkpoint.build(), names=checkpoint.names)
    return _read_torch(path, model, source)


def _read_torch(path: Path, model: str, source: str) -> Start:
    """A ``.pt`` file: a plain state dict, or an ultralytics checkpoint; neither may run code while it loads."""
    import torch
    from ultralytics.nn.tasks import load_checkpoint as load_ultralytics_checkpoint

    try:
        plain = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # not a plain state dict: ultralytics' allow-list of classes decides below
        plain = None
    if isinstance(plain, dict) and plain and all(isinstance(value, torch.Tensor) for value in plain.values()):
        tensors = {key: value.float() if value.is_floating_point() else value for key, value in plain.items()}
        match = NAME.match(path.name)
        architecture = model or (match.group(1).lower() if match else "")
        if not architecture:
            raise InvalidInput(f"{path}: a plain state dict does not say its architecture; name it with --model")
        return Start(source, _yaml_name(architecture), tensors=tensors)
    try:
        module, _ = load_ultralytics_checkpoint(str(path))
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise InvalidInput(f"{path}: not a checkpoint that loads without running code: {reason}") from None
    names = tuple(str(module.names[i]) for i in range(len(module.names)))
    return Start(source, _yaml_name(model) if model else module.yaml, module=module, names=names)


def _yaml_name(model: str) -> str:
    return model if model.endswith((".yaml", ".yml")) else f"{model}.yaml"

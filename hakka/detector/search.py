"""A search for better settings of a training: short trainings, judged on the val images, by optuna."""

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock

from hakka.data.dataset import Dataset, load_dataset
from hakka.detector.torch_compat import load_ultralytics
from hakka.detector.train import AUGMENTATIONS, TrainParams, check_device, train
from hakka.detector.variants import MOST_VARIANTS, Variant, list_variants, make_variant, settings_of, share_trainings
from hakka.detector.weights import check_weights, find_start
from hakka.errors import InvalidInput, NotFound, Unavailable
from hakka.files import canonical_json
from hakka.params import read_section
from hakka.settings import read_settings

SEARCHED = ("model", "imgsz", "batch", "learning_rate", "mosaic", *AUGMENTATIONS)
JOURNAL = "journal.log"
# In what a whole number of the space is counted (else 1): optuna's own steps do not go together with a log.
UNITS = {"imgsz": 32}


@dataclass(frozen=True)
class SearchParams:
    """Section ``search`` of params.yaml.

    ``trials``: trainings that are tried, 0 for no search; ``epochs`` of each; ``keep``: how many of the best become
    variants, which are trained in full; ``seed`` of what is tried. ``space``: for each setting of ``SEARCHED``
    ``{low, high}``, with ``log: true`` where it counts by factors, or ``{choices: [...]}``.
    """

    trials: int = 0
    epochs: int = 3
    keep: int = 1
    seed: int = 0
    space: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, least in (("trials", 0), ("epochs", 1), ("keep", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise InvalidInput(f"search.{name} must be {least} or more, got {getattr(self, name)}")
        if self.keep > MOST_VARIANTS:
            raise InvalidInput(f"search.keep must be at most {MOST_VARIANTS}, got {self.keep}")
        if self.trials and not self.space:
            raise InvalidInput(f"search.space must name a setting to search in, for {self.trials} trials")
        for name, part in self.space.items():
            if name not in SEARCHED:
                raise InvalidInput(f"search.space: {name!r} is not searched; known are {', '.join(SEARCHED)}")
            _check_part(f"search.space.{name}", part)

    def check(self, own: TrainParams) -> None:
        """Raise InvalidInput if a value of the space is none that a training takes."""
        for name, part in self.space.items():
            for value in part.get("choices") or (part["low"], part["high"]):
                try:
                    _apply(own, {name: value})
                except (InvalidInput, TypeError, AttributeError) as error:
                    raise InvalidInput(f"search.space.{name}: {value!r} is not a value of it: {error}") from None


def _check_part(place: str, part: Any) -> None:
    if isinstance(part, Mapping) and set(part) == {"choices"} and isinstance(part["choices"], list) and part["choices"]:
        return
    if not (isinstance(part, Mapping) and {"low", "high"} <= set(part) <= {"low", "high", "log"}):
        raise InvalidInput(f"{place} must be {{low, high}}, with log: true or not, or {{choices: [...]}}, got {part!r}")
    low, high = part["low"], part["high"]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (low, high))
    if not numbers or not low < high or (part.get("log") and low <= 0):
        above = " above 0" if part.get("log") else ""
        raise InvalidInput(f"{place}: low and high must be numbers{above}, low below high, got {low!r} and {high!r}")


def plan_variants(own: Mapping[str, Any], settings: list[dict[str, Any]]) -> list[Variant]:
    """The variants that are to be trained without a search: those of ``settings``, or the run's ``own``.

    ``own`` overrides section ``train`` of params.yaml.

    Raises:
        InvalidInput: as :func:`check_plan`.
    """
    _, _, variants, _ = check_plan(own, settings, 0)
    return share_trainings(variants)


def search_variants(
    dataset: Path, root: Path, own: Mapping[str, Any], settings: list[dict[str, Any]], trials: int
) -> list[Variant]:
    """The variants of :func:`plan_variants`, and the best of a search of so many ``trials``.

    Raises:
        InvalidInput: as :func:`check_plan`, or every trial of the search failed.
    """
    params, precision, variants, searching = check_plan(own, settings, trials)
    for found in search(dataset, root, params, searching):
        variant = make_variant(found.pop("title"), _apply(params, found), precision)
        if settings_of(variant) not in [settings_of(other) for other in variants]:
            variants.append(variant)
    return share_trainings(variants)


def check_plan(
    own: Mapping[str, Any], settings: Any, trials: int | None
) -> tuple[TrainParams, str, list[Variant], SearchParams]:
    """The run's own settings and precision, the variants that are listed, and the search, all of them checked.

    Raises:
        InvalidInput: a setting is unknown or has a value that is not allowed, or two variants are the same.
    """
    from hakka.detector.export import ExportParams

    params, precision = read_section(TrainParams, "train", **own), read_section(ExportParams, "export").precision
    searching = read_section(SearchParams, "search", trials=trials)
    searching.check(params)
    return params, precision, list_variants(params, precision, settings), searching


def check_starts(own: TrainParams, variants: list[Variant], searching: SearchParams) -> None:
    """Refuse a plan whose trainings could not start on this machine: before the data is prepared, not after.

    Raises:
        NotFound: as :func:`check_weights`, of the weights that a training would start from.
        Unavailable: a GPU that they are to use is not here.
    """
    check_device(own.device)
    starts = {variant["training"]["weights"]: None for variant in variants}
    for weights in [*starts, *([own.weights] if searching.trials else [])]:
        check_weights(weights, read_settings())


def search(dataset: Path, root: Path, own: TrainParams, params: SearchParams) -> list[dict[str, Any]]:
    """The ``keep`` best of ``trials`` short trainings by mAP50 on the val images, best first: what each overrides.

    Each has a ``title``. The test images take no part. What was tried lies under HAKKA_HOME: the same search run again
    tries only what is left, a killed one goes on with the trial and the epoch where it was, and either ends with what
    an unbroken one finds. A trial that fails is named and skipped.

    Raises:
        InvalidInput: every trial failed, or the dataset cannot be read.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder = read_settings().home / "search" / _key(load_dataset(dataset), own, params)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        (folder / f"{JOURNAL}.lock").unlink(missing_ok=True)  # of a search that was killed while it wrote
        storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
        study = optuna.create_study(study_name="search", storage=storage, direction="maximize", load_if_exists=True)
        for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):  # killed: the next is the same again
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        while (number := len(_tried(study))) < params.trials:
            study.sampler = optuna.samplers.TPESampler(seed=params.seed + number)
            _try(study, number + 1, dataset, root, own, params)
        done = _tried(study)[: params.trials]
    best = sorted((trial for trial in done if trial.value is not None), key=lambda trial: (-trial.value, trial.number))
    if not best:
        raise InvalidInput(f"search: each of {params.trials} trials failed, the last: {done[-1].user_attrs['failed']}")
    return [
        {"title": f"trial {done.index(trial) + 1}", **trial.user_attrs["overrides"]} for trial in best[: params.keep]
    ]


def _tried(study: Any) -> list[Any]:
    """The trials that came to an end of their own, in their order."""
    return [trial for trial in study.get_trials() if trial.value is not None or "failed" in trial.user_attrs]


def _try(study: Any, number: int, dataset: Path, root: Path, own: TrainParams, params: SearchParams) -> None:
    from optuna.trial import TrialState

    trial = study.ask()
    overrides = {name: _suggest(trial, name, part) for name, part in params.space.items()}
    trial.set_user_attr("overrides", overrides)
    name = f"trial {number}/{params.trials}"
    print(f"{name}: {', '.join(f'{key}={value}' for key, value in overrides.items())}", flush=True)
    try:
        short = replace(_apply(own, overrides), epochs=params.epochs, patience=0)
        with tempfile.TemporaryDirectory(prefix="hakka-") as out:
            reached = train(dataset, root, Path(out), short)["best_val_map50"]
    except Exception as error:  # too large for the memory, a loss of NaN …: other settings may do
        if isinstance(error, NotFound | Unavailable) or getattr(error, "errno", None):
            raise  # a photo is missing, the disk is full …: no fault of the settings, the same trial comes again
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        trial.set_user_attr("failed", reason)
        study.tell(trial, state=TrialState.FAIL)
        print(f"{name}: skipped: {reason}", flush=True)
        return
    study.tell(trial, reached)
    print(f"{name}: val mAP50 {reached:.3f}", flush=True)


def _suggest(trial: Any, name: str, part: Mapping[str, Any]) -> Any:
    if "choices" in part:
        return trial.suggest_categorical(name, part["choices"])
    low, high, log = part["low"], part["high"], part.get("log", False)
    if _is_whole(name):
        unit = UNITS.get(name, 1)
        return unit * trial.suggest_int(name, low // unit, high // unit, log=log)
    return float(f"{trial.suggest_float(name, low, high, log=log):.4g}")


def _is_whole(name: str) -> bool:
    return any(part.name == name and part.type is int for part in fields(TrainParams))


def _apply(own: TrainParams, overrides: Mapping[str, Any]) -> TrainParams:
    augment = {name: value for name, value in overrides.items() if name in AUGMENTATIONS}
    others = {name: value for name, value in overrides.items() if name not in AUGMENTATIONS}
    return replace(own, **others, augment={**own.augment, **augment})


def _key(data: Dataset, own: TrainParams, params: SearchParams) -> str:
    """16 hex digits over everything that decides what a search finds but the number of its trials."""
    settings = read_settings()
    load_ultralytics(settings.home / "ultralytics")
    start = find_start(own.weights, own.model, data.names, settings, trusted=own.trust_weights)
    tensors = start.tensors or ({} if start.module is None else start.module.state_dict())
    about = [params.epochs, params.seed, params.space, UNITS, data.digest, list(data.names)]
    versions = [version(name) for name in ("torch", "ultralytics", "optuna")]
    digest = hashlib.sha256(canonical_json([asdict(own), *about, *versions]))
    for name, tensor in tensors.items():
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]

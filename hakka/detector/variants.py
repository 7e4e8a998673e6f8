"""Variants of a training: which there are, and which of them is the best that is fast enough."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from hakka.cards.markdown import escape, join, table
from hakka.detector.export import PRECISIONS, ExportParams
from hakka.detector.train import TrainParams
from hakka.errors import InvalidInput
from hakka.files import link_file, read_json, sha256_file, whole_folder, write_json, write_whole
from hakka.params import read_section
from hakka.texts import is_text, short

TRAINED = ("weights", "model", "imgsz", "epochs", "batch", "seed", "learning_rate", "mosaic", "augment")
SETTINGS = (*TRAINED, "precision")
MOST_VARIANTS = 100  # each is a training in full
OWN = "own settings"  # what the variant that overrides nothing is called among others
COMPARISON = "variants.json"

Variant = dict[str, Any]


@dataclass(frozen=True)
class VariantParams:
    """Section ``variants`` of params.yaml.

    ``settings``: a list of mappings, each overrides some of the run's own settings (``SETTINGS``); empty: the run's own
    only. ``latency_budget_ms``: milliseconds that a photo may take, 0 for any. ``at_once``: variants that are trained
    at the same time.
    """

    settings: list[dict[str, Any]] = field(default_factory=list)
    latency_budget_ms: float = 0.0
    at_once: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.latency_budget_ms < math.inf:
            raise InvalidInput(f"variants.latency_budget_ms must be 0 or more, got {self.latency_budget_ms}")
        if self.at_once < 1:
            raise InvalidInput(f"variants.at_once must be 1 or more, got {self.at_once}")


def list_variants(own: TrainParams, precision: str, settings: Any) -> list[Variant]:
    """Every variant, see :func:`make_variant`, with a ``title`` that names what it overrides; at least one.

    Raises:
        InvalidInput: ``settings`` is not a list of mappings or has more than ``MOST_VARIANTS``, a setting is unknown or
            has a value that is not allowed, or two variants are the same.
    """
    if not isinstance(settings, list):
        raise InvalidInput(f"variants must be a list of mappings, got {short(settings)}")
    if len(settings) > MOST_VARIANTS:
        raise InvalidInput(f"variants must be at most {MOST_VARIANTS}, each is a training, got {len(settings)}")
    variants: list[Variant] = []
    for number, entry in enumerate(settings or [{}], 1):
        variant = _override(own, precision, entry, f"variants, entry {number}")
        if same := next((i for i, other in enumerate(variants, 1) if settings_of(other) == settings_of(variant)), 0):
            raise InvalidInput(f"variants: entries {same} and {number} must differ, both are {settings_of(variant)}")
        variants.append(variant)
    return variants


def _override(own: TrainParams, precision: str, entry: Any, place: str) -> Variant:
    if not isinstance(entry, Mapping):
        raise InvalidInput(f"{place}: must be a mapping of settings, got {short(entry)}")
    if unknown := [key for key in entry if key not in SETTINGS]:
        raise InvalidInput(f"{place}: {short(unknown[0])} is not a setting; known are {', '.join(SETTINGS)}")
    kinds = {part.name: part.type for part in fields(TrainParams)} | {"precision": str}
    given = {key: _typed(f"{place}: {key}", entry[key], kinds[key]) for key in SETTINGS if key in entry}
    precision = given.pop("precision", precision)
    if precision not in PRECISIONS:
        raise InvalidInput(f"{place}: precision must be {' or '.join(PRECISIONS)}, got {short(precision)}")
    try:
        params = replace(own, **given)
    except InvalidInput as error:
        raise InvalidInput(f"{place}: {error}") from None
    return make_variant(_title(entry), params, precision, named="precision" in entry)


def make_variant(title: str, params: TrainParams, precision: str, *, named: bool = False) -> Variant:
    """A variant as it goes from step to step: title, ``precision``, and ``training``, its settings with a ``label``.

    ``title`` is what the training is called; the variant's own title says the precision too where it is ``named``.
    """
    values = asdict(params)
    training = {"label": title, **{key: values[key] for key in TRAINED}}
    whole_title = ", ".join(filter(None, (title, f"precision={precision}" if named else "")))
    return {"title": whole_title, "training": training, "precision": precision}


def share_trainings(variants: Sequence[Variant]) -> list[Variant]:
    """The variants, those that are trained alike with one ``training``, its label too: kfp then trains it once.

    It takes the second for done when the first is, so those that repeat a training come last.
    """
    firsts: list[Variant] = []
    repeats: list[Variant] = []
    for variant in variants:
        own = _trained(variant["training"])
        shared = next((first["training"] for first in firsts if _trained(first["training"]) == own), None)
        if shared is None:
            firsts.append(variant)
        else:
            repeats.append(variant | {"training": shared})
    return firsts + repeats


def settings_of(variant: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a variant by name."""
    return _trained(variant["training"]) | {"precision": variant["precision"]}


def train_params(training: Mapping[str, Any], device: str) -> TrainParams:
    """The params of a variant's training; what a variant does not decide comes from params.yaml."""
    return read_section(TrainParams, "train", device=device, **_trained(training))


def _trained(training: Mapping[str, Any]) -> dict[str, Any]:
    """A training without its label, its numbers as they were: on the way through kfp, whole numbers become floats."""
    return {key: _whole(training[key]) for key in TRAINED}


def export_params(variant: Mapping[str, Any]) -> ExportParams:
    """The export of a variant; what a variant does not decide comes from params.yaml."""
    return read_section(ExportParams, "export", precision=variant["precision"])


def _typed(place: str, value: Any, kind: Any) -> Any:
    value = _whole(value)
    kinds: dict[Any, tuple[Any, str]] = {
        int: (int, "a whole number"),
        float: (int | float, "a number"),
        str: (str, "a text"),
    }
    allowed, words = kinds.get(kind, (Mapping, "a mapping"))
    if isinstance(value, bool) or not isinstance(value, allowed):
        raise InvalidInput(f"{place} must be {words}, got {short(value)}")
    if kind is str and not is_text(value):
        raise InvalidInput(f"{place} must be UTF-8, got {short(value)}")
    return float(value) if kind is float else value


def _whole(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _whole(inner) for key, inner in sorted(value.items(), key=lambda item: str(item[0]))}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _title(entry: Mapping[str, Any]) -> str:
    """What an entry overrides of a training, in few words and an order of their own: kfp loses that of a mapping."""
    words = []
    for key in TRAINED:
        if key == "augment" and key in entry:
            words += [f"{name}={_whole(value)}" for name, value in sorted(entry[key].items())] or ["no augment"]
        elif key in entry:
            words.append(f"{key}={Path(entry[key]).name if key == 'weights' else _whole(entry[key])}")
    return ", ".join(words)


@dataclass(frozen=True)
class Candidate:
    """A variant that was trained: its three folders, mAP50 on the test images, and milliseconds a photo (median).

    ``where``: the engine, device and cores that the milliseconds were measured on.
    """

    title: str
    settings: dict[str, Any]
    checkpoint: Path
    model: Path
    evaluation: Path
    version: str
    map50: float
    map50_95: float
    ms: float
    where: str


def choose(
    checkpoints: Sequence[Path],
    models: Sequence[Path],
    evaluations: Sequence[Path],
    latency_budget_ms: float,
    outs: Sequence[Path],
) -> dict[str, Any]:
    """Copy the checkpoint, model and evaluation of the best variant into the first three of ``outs``, by hard links.

    The evaluation gets ``variants.json``, the comparison, which is also returned, and the fourth of ``outs`` is a
    Markdown table of it. ``compared`` has a row a variant, best first; ``candidates`` counts those within the budget
    (0 ms: all are), out of which the best was picked. Where none is, the fastest is copied and ``refusal`` says so: the
    gate then keeps the champion. So it does where the budget cannot be held against all, as they were not measured on
    one kind of machine.

    Raises:
        InvalidInput: the folders are not those of the same variants.
    """
    found = match_candidates(checkpoints, models, evaluations)
    chosen, comparison = compare_variants(found, latency_budget_ms)
    for source, out in zip((chosen.checkpoint, chosen.model, chosen.evaluation), outs, strict=False):
        with whole_folder(out) as folder:
            for path in sorted(path for path in source.rglob("*") if path.is_file()):
                target = folder / path.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                link_file(path, target)
            if source == chosen.evaluation:
                write_json(folder / COMPARISON, comparison)
    write_whole(outs[3], comparison_table(comparison))
    return comparison


def match_candidates(
    checkpoints: Sequence[Path], models: Sequence[Path], evaluations: Sequence[Path]
) -> list[Candidate]:
    """What belongs together, by the digests that are written in it and not by the order of the lists.

    Raises:
        InvalidInput: an evaluation has no model, or a model no checkpoint.
    """
    by_weights = {sha256_file(folder / "weights.safetensors"): folder for folder in checkpoints}
    by_version = {read_json(folder / "model.json")["version"]: folder for folder in models}
    candidates = []
    for evaluation in evaluations:
        variant, metrics, speed = (read_json(evaluation / f"{name}.json") for name in ("variant", "metrics", "speed"))
        model = by_version.get(metrics["version"])
        weights = "" if model is None else read_json(model / "model.json")["files"]["weights.safetensors"]
        if model is None or weights not in by_weights:
            raise InvalidInput(f"{evaluation}: the model that was measured must be among those that were trained")
        candidates.append(
            Candidate(
                title=variant["title"] or OWN,
                settings=settings_of(variant),
                checkpoint=by_weights[weights],
                model=model,
                evaluation=evaluation,
                version=metrics["version"],
                map50=metrics["map50"],
                map50_95=metrics["map50_95"],
                ms=speed["ms"],
                where=speed["where"],
            )
        )
    return candidates


def compare_variants(found: Sequence[Candidate], latency_budget_ms: float) -> tuple[Candidate, dict[str, Any]]:
    """The best by mAP50 of those within the budget, of equals the faster one; the fastest of all where none is.

    Milliseconds of different machines are not compared: of equals the first is then taken, and a budget refuses all.
    """
    first = found[0]
    elsewhere = next((other for other in found if other.where != first.where), None)
    ranked = sorted(found, key=lambda candidate: (-candidate.map50, 0.0 if elsewhere else candidate.ms))
    limit = math.inf if elsewhere or not latency_budget_ms else latency_budget_ms
    within = [candidate for candidate in ranked if candidate.ms <= limit]
    fastest = min(ranked, key=lambda candidate: candidate.ms)
    chosen = within[0] if within else fastest
    refusal = ""
    if not within:
        refusal = (
            f"no variant is within the latency budget of {latency_budget_ms:g} ms a photo: "
            f"the fastest, {fastest.title}, takes {fastest.ms:.1f} ms"
        )
    elif elsewhere and latency_budget_ms:
        refusal = (
            "for a latency budget all variants must be measured on one kind of machine, but some were on "
            f"{first.where}, others on {elsewhere.where}; without HAKKA_HOME/cache all are made anew"
        )
    rows = [
        {
            **{
                key: getattr(candidate, key)
                for key in ("title", "version", "map50", "map50_95", "ms", "where", "settings")
            },
            "within_budget": candidate in within,
            "chosen": candidate is chosen,
        }
        for candidate in ranked
    ]
    about = {"version": chosen.version, "latency_budget_ms": latency_budget_ms, "refusal": refusal}
    return chosen, about | {"candidates": max(len(within), 1), "compared": rows}


def read_comparison(evaluation: Path) -> dict[str, Any]:
    """The comparison that an evaluation was chosen by; empty where there was nothing to choose from.

    Raises:
        InvalidInput: it is there and cannot be read.
    """
    path = evaluation / COMPARISON
    return dict(read_json(path)) if path.is_file() else {}


def comparison_rows(comparison: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A line for each variant, best first: its title, and its figures in words."""
    is_mixed = _is_mixed(comparison)
    return [
        (
            row["title"],
            f"mAP50 {row['map50']:.3f}, mAP50-95 {row['map50_95']:.3f}, {row['ms']:.1f} ms a photo"
            + (f" on {row['where']}" if is_mixed else "")
            + ("" if row["within_budget"] else f", above the budget of {comparison['latency_budget_ms']:g} ms")
            + (", chosen" if row["chosen"] else ""),
        )
        for row in comparison["compared"]
    ]


def comparison_columns(comparison: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """The heads of a table of the variants and its rows, best first; where each was measured if not all on one kind."""
    head = ("variant", "mAP50", "mAP50-95", "ms a photo", "verdict")
    rows = [
        (row["title"], row["map50"], row["map50_95"], f"{row['ms']:.1f}", _verdict(row))
        for row in comparison["compared"]
    ]
    if not _is_mixed(comparison):
        return head, rows
    places = (row.get("where") for row in comparison["compared"])
    return (*head, "measured on"), [(*row, place) for row, place in zip(rows, places, strict=True)]


def _is_mixed(comparison: Mapping[str, Any]) -> bool:
    """Whether the milliseconds are those of several machines; a comparison of an earlier Hakka does not say."""
    return len({row.get("where") for row in comparison["compared"]}) > 1


def _verdict(row: Mapping[str, Any]) -> str:
    words = ("chosen" if row["chosen"] else "", "" if row["within_budget"] else "above the latency budget")
    return ", ".join(filter(None, words))


def comparison_table(comparison: Mapping[str, Any]) -> str:
    """The comparison as Markdown."""
    refusal = comparison["refusal"]
    parts = [table(*comparison_columns(comparison))]
    if refusal:
        parts.append(f"{escape(refusal[0].upper() + refusal[1:])}.")
    return join(*parts) + "\n"

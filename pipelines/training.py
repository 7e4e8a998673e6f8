"""From photos and annotations to a detector that is served, if it deserves to be."""

from typing import Dict, List, NamedTuple  # noqa: UP035  (kfp reads the type of a list from typing's form)

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model

from components import (
    accept_dataset,
    choose_variant,
    convert_annotations,
    decide_promotion,
    deploy_model,
    evaluate_champion,
    evaluate_detector,
    export_detector,
    keep_champion,
    list_images,
    plan_variants,
    prepare_data,
    promote_model,
    scan_images,
    search_variants,
    track_run,
    train_detector,
    validate_dataset,
)
from hakka.data.shards import ScanParams
from hakka.detector.search import SearchParams
from hakka.detector.train import TrainParams
from hakka.detector.variants import VariantParams
from hakka.params import read_section
from pipelines.cluster import HOME, ClusterParams, always, give_compute, give_scan_compute, keep_home

SCAN = read_section(ScanParams, "scan")
TRAIN = read_section(TrainParams, "train")
VARIANTS = read_section(VariantParams, "variants")
SEARCH = read_section(SearchParams, "search")
CLUSTER = read_section(ClusterParams, "cluster")


class Outcome(NamedTuple):
    """What a training run leaves behind."""

    version: str
    reason: str
    record: Artifact


class Chosen(NamedTuple):
    """What the best variant leaves behind."""

    checkpoint: Model
    model: Model
    evaluation: Artifact


@dsl.pipeline(name="scan-in-shards")
def scan_in_shards(data: str, data_revision: str, annotation_format: str, shards: int) -> List[Artifact]:  # noqa: UP006
    """Look at every image once, in as many steps as there are shards.

    It is a pipeline of its own because kfp.local puts the turn's item in the place of any output of an earlier step
    that a loop takes; what a loop takes of its pipeline's parameters is left alone.

    Args:
        data: Folder of photos and annotation files.
        data_revision: Revision of that folder.
        annotation_format: Format of the annotation files, or auto to find out.
        shards: Number of shards.

    Returns:
        What was seen, of every shard.
    """
    listed = list_images(data=data, data_revision=data_revision, annotation_format=annotation_format, shards=shards)
    with dsl.ParallelFor(listed.outputs["Output"], parallelism=CLUSTER.scans_at_once) as shard:
        scanned = scan_images(data=data, data_revision=data_revision, images=listed.outputs["images"], shard=shard)
    give_scan_compute(scanned, CLUSTER)
    for task in (listed, scanned):
        keep_home(task)
    return dsl.Collected(scanned.outputs["scans"])


@dsl.pipeline(name="plan-or-search")
def plan_or_search(
    data: str,
    dataset: Input[Dataset],
    weights: str,
    model: str,
    epochs: int,
    imgsz: int,
    batch: int,
    seed: int,
    device: str,
    variants: list,
    trials: int,
) -> List[Dict]:  # noqa: UP006
    """List the variants to train; only a search among them takes a node that can train.

    Args:
        data: Folder of photos.
        dataset: Labels and index.
        weights: Weights to start from.
        model: Architecture; empty for that of the weights.
        epochs: Passes over the training images; 0 to choose by whether the weights know the classes.
        imgsz: Side of the square training image, in pixels.
        batch: Images a training step.
        seed: Seed of every random choice.
        device: Device to train on.
        variants: Mappings of settings that override those above; empty for one variant that overrides nothing.
        trials: Short trainings of a search for good settings; 0 for no search.

    Returns:
        Every variant.
    """
    own = {"weights": weights, "model": model, "epochs": epochs, "imgsz": imgsz, "batch": batch, "seed": seed}
    with dsl.If(trials == 0):
        planned = plan_variants(**own, device=device, variants=variants)
    with dsl.Else():
        searched = search_variants(data=data, dataset=dataset, **own, device=device, variants=variants, trials=trials)
    give_compute(searched, CLUSTER)
    for task in (planned, searched):
        always(keep_home(task))
    return dsl.OneOf(planned.output, searched.output)


@dsl.pipeline(name="train-variants")
def train_variants(
    data: str,
    dataset: Input[Dataset],
    weights: str,
    model: str,
    epochs: int,
    imgsz: int,
    batch: int,
    seed: int,
    device: str,
    variants: list,
    trials: int,
    latency_budget_ms: float,
) -> Chosen:
    """Train, export and measure every variant, and choose the best that is fast enough.

    It is a pipeline of its own for the same reason as the look at the images.

    Args:
        data: Folder of photos.
        dataset: Labels and index.
        weights: Weights to start from.
        model: Architecture; empty for that of the weights.
        epochs: Passes over the training images; 0 to choose by whether the weights know the classes.
        imgsz: Side of the square training image, in pixels.
        batch: Images a training step.
        seed: Seed of every random choice.
        device: Device to train on.
        variants: Mappings of settings that override those above; empty for one variant that overrides nothing.
        trials: Short trainings of a search for good settings; 0 for no search.
        latency_budget_ms: Milliseconds that a model may take a photo; 0 for any.

    Returns:
        Checkpoint, model and evaluation of the chosen variant.
    """
    planned = plan_or_search(
        data=data,
        dataset=dataset,
        weights=weights,
        model=model,
        epochs=epochs,
        imgsz=imgsz,
        batch=batch,
        seed=seed,
        device=device,
        variants=variants,
        trials=trials,
    )
    with dsl.ParallelFor(planned.output, parallelism=VARIANTS.at_once) as variant:
        trained = train_detector(data=data, dataset=dataset, training=variant.training, device=device)
        exported = export_detector(
            data=data, dataset=dataset, variant=variant, checkpoint=trained.outputs["checkpoint"]
        )
        measured = evaluate_detector(data=data, dataset=dataset, variant=variant, model=exported.outputs["model"])
    chosen = choose_variant(
        checkpoints=dsl.Collected(trained.outputs["checkpoint"]),
        models=dsl.Collected(exported.outputs["model"]),
        evaluations=dsl.Collected(measured.outputs["evaluation"]),
        latency_budget_ms=latency_budget_ms,
    )
    give_compute(trained, CLUSTER)
    for task in (trained, exported, measured, chosen):
        keep_home(task)
    always(planned)
    return Chosen(
        checkpoint=chosen.outputs["checkpoint"], model=chosen.outputs["model"], evaluation=chosen.outputs["evaluation"]
    )


@dsl.pipeline(name="promote-or-keep")
def promote_or_keep(
    model: Input[Model],
    evaluation: Input[Artifact],
    promote: bool,
    reason: str,
    data: str,
    data_revision: str,
    target: str,
) -> str:
    """Promote and deploy the model if the gate said so; else keep the champion and say why.

    Args:
        model: Model folder of the challenger.
        evaluation: Evaluation of the challenger.
        promote: Whether the gate said yes.
        reason: Why.
        data: Folder of photos and annotations.
        data_revision: Revision of that folder.
        target: Where to serve the promoted version.

    Returns:
        The champion's version after it.
    """
    with dsl.If(promote == True):  # noqa: E712  (an expression of the pipeline, not of Python)
        promoted = promote_model(
            model=model,
            evaluation=evaluation,
            data=data,
            data_revision=data_revision,
            run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        )
        deployed = deploy_model(version=promoted.output, target=target)
        for task in (promoted, deployed):
            always(keep_home(task))
    with dsl.Else():
        kept = always(keep_home(keep_champion(reason=reason)))
    return dsl.OneOf(promoted.output, kept.output)


@dsl.pipeline(name="hakka-training", display_name="Hakka training")
def training(
    data: str = f"{HOME}/data",
    data_revision: str = "",
    annotation_format: str = "auto",
    shards: int = SCAN.shards,
    weights: str = TRAIN.weights,
    model: str = TRAIN.model,
    epochs: int = TRAIN.epochs,
    imgsz: int = TRAIN.imgsz,
    batch: int = TRAIN.batch,
    seed: int = TRAIN.seed,
    device: str = TRAIN.device,
    variants: list = VARIANTS.settings,
    trials: int = SEARCH.trials,
    latency_budget_ms: float = VARIANTS.latency_budget_ms,
    target: str = "auto",
) -> Outcome:
    """Photos and annotations in; a compared, promoted and served food detector out.

    1. Lay the wanted version of the data ready, look at its images in shards, convert its annotations, check them.
    2. Train every variant on what the checks accept, export and measure it, and choose the best that is fast enough.
    3. Measure today's champion beside it and let the gate decide: promote and deploy, or keep the champion and say why.
    4. Write down what happened.

    Args:
        data: Folder of photos and annotation files.
        data_revision: Git revision (tag, branch, commit) of that folder under DVC; empty for the folder as it lies.
        annotation_format: Format of the annotation files, or auto to find out.
        shards: Steps that share the look at the images; any number gives the same dataset.
        weights: Weights to start from: auto, starter, scratch, a file, or a published name such as yolo26n.pt.
        model: Architecture, such as yolo26n; empty for that of the weights.
        epochs: Passes over the training images; 0 to choose by whether the weights know the classes.
        imgsz: Side of the square training image, in pixels.
        batch: Images a training step.
        seed: Seed of every random choice.
        device: Device to train on: auto, cpu, or the numbers of GPUs such as 0,1.
        variants: What to train: a list of mappings, each overrides some of weights, model, imgsz, epochs, batch, seed,
            learning_rate, mosaic, augment and precision, such as [{"imgsz": 320}, {"imgsz": 416}]; empty for one
            variant with the settings above.
        trials: Short trainings that search for better settings, as section search of params.yaml says; the best are
            variants too; 0 for no search.
        latency_budget_ms: Milliseconds that the exported model may take a photo, measured where it is evaluated; the
            best variant within it is chosen; 0 for any.
        target: Where to serve the promoted version: auto, or one of the targets of hakka.deploy.

    Returns:
        The champion's version after the run, what the gate said, and the run record.
    """
    prepared = prepare_data(data=data, data_revision=data_revision)
    folder, revision = prepared.outputs["folder"], prepared.outputs["revision"]
    scans = scan_in_shards(data=folder, data_revision=revision, annotation_format=annotation_format, shards=shards)
    converted = convert_annotations(
        data=folder,
        data_revision=revision,
        annotation_format=annotation_format,
        scans=scans.output,
        earlier=prepared.outputs["earlier"],
    )
    dataset = converted.outputs["dataset"]
    validated = validate_dataset(data=folder, source=data, dataset=dataset, scans=scans.output)
    accepted = accept_dataset(
        validation=validated.outputs["validation"], dataset=dataset, source=data, data_revision=revision
    )

    best = train_variants(
        data=folder,
        dataset=dataset,
        weights=weights,
        model=model,
        epochs=epochs,
        imgsz=imgsz,
        batch=batch,
        seed=seed,
        device=device,
        variants=variants,
        trials=trials,
        latency_budget_ms=latency_budget_ms,
    ).after(accepted)
    champion = evaluate_champion(data=folder, dataset=dataset).after(best)

    verdict = decide_promotion(challenger=best.outputs["evaluation"], champion=champion.outputs["evaluation"])
    released = promote_or_keep(
        model=best.outputs["model"],
        evaluation=best.outputs["evaluation"],
        promote=verdict.outputs["promote"],
        reason=verdict.outputs["reason"],
        data=data,
        data_revision=revision,
        target=target,
    )
    tracked = track_run(
        data=data,
        data_revision=revision,
        run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        version=released.output,
        dataset=dataset,
        validation=validated.outputs["validation"],
        checkpoint=best.outputs["checkpoint"],
        model=best.outputs["model"],
        evaluation=best.outputs["evaluation"],
        decision=verdict.outputs["decision"],
    )

    for task in (prepared, converted, validated, accepted, champion, tracked):
        keep_home(task)
    for task in (prepared, accepted, champion, verdict, released, tracked):
        always(task)
    return Outcome(version=released.output, reason=verdict.outputs["reason"], record=tracked.outputs["record"])

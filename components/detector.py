"""Steps that train, export and measure the variants of a detector, and choose one of them."""

from typing import Dict, List  # noqa: UP035  (kfp reads the type of a list from typing's form)

from kfp import dsl
from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Input, Markdown, Metrics, Model, Output

from hakka.images import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def plan_variants(
    weights: str, model: str, epochs: int, imgsz: int, batch: int, seed: int, device: str, variants: list
) -> List[Dict]:  # noqa: UP006
    """List the variants to train.

    Args:
        weights: Weights to start from: auto, starter, scratch, a file, or a published name such as yolo26n.pt.
        model: Architecture, such as yolo26n; empty for that of the weights.
        epochs: Passes over the training images; 0 to choose by whether the weights know the classes.
        imgsz: Side of the square training image, in pixels.
        batch: Images a step.
        seed: Seed of every random choice.
        device: Device to train on: auto, cpu, or the numbers of GPUs such as 0,1.
        variants: Mappings of settings that override those above; empty for one variant that overrides nothing.

    Returns:
        Every variant: a title, the settings of its training, and the precision of its export.
    """
    from hakka.detector.search import plan_variants

    own = {"weights": weights, "model": model, "epochs": epochs, "imgsz": imgsz, "batch": batch, "seed": seed}
    return plan_variants({**own, "device": device}, variants)


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def search_variants(
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
    """List the variants to train, the best of a search for good settings among them.

    Args:
        data: Folder of photos that the dataset refers to.
        dataset: Labels and index of the training and validation images.
        weights: Weights to start from: auto, starter, scratch, a file, or a published name such as yolo26n.pt.
        model: Architecture, such as yolo26n; empty for that of the weights.
        epochs: Passes over the training images; 0 to choose by whether the weights know the classes.
        imgsz: Side of the square training image, in pixels.
        batch: Images a step.
        seed: Seed of every random choice.
        device: Device to train on: auto, cpu, or the numbers of GPUs such as 0,1.
        variants: Mappings of settings that override those above; empty for one variant that overrides nothing.
        trials: Short trainings of the search.

    Returns:
        Every variant: a title, the settings of its training, and the precision of its export.
    """
    from hakka.detector.search import search_variants
    from hakka.run import paths

    own = {"weights": weights, "model": model, "epochs": epochs, "imgsz": imgsz, "batch": batch, "seed": seed}
    return search_variants(*paths(dataset, data), {**own, "device": device}, variants, trials)


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def train_detector(
    data: str,
    dataset: Input[Dataset],
    training: dict,
    device: str,
    checkpoint: Output[Model],
    progress: Output[Metrics],
) -> None:
    """Train a detector on the dataset's training images.

    Args:
        data: Folder of photos that the dataset refers to.
        dataset: Labels and index of the training and validation images.
        training: Settings of the training; variants that are trained alike have the same, and one training serves both.
        device: Device to train on: auto, cpu, or the numbers of GPUs such as 0,1.
        checkpoint: Weights without pickle, and the history of every epoch.
        progress: Figures of the training.
    """
    from hakka.detector.train import train
    from hakka.detector.variants import train_params
    from hakka.run import paths, present

    present(train(*paths(dataset, data, checkpoint), train_params(training, device)), progress)


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def export_detector(
    data: str, dataset: Input[Dataset], variant: dict, checkpoint: Input[Model], model: Output[Model]
) -> None:
    """Export a checkpoint to the model folder that is served: no pickle, no torch.

    Args:
        data: Folder of photos that the dataset refers to.
        dataset: Dataset that the checkpoint was trained on; its val images make the reference of the drift watch.
        variant: Settings of the export.
        checkpoint: Trained weights.
        model: OpenVINO and ONNX files, and a record of names, sizes and digests.
    """
    from hakka.detector.export import export
    from hakka.detector.variants import export_params
    from hakka.run import paths

    info = export(*paths(checkpoint, dataset, data, model), export_params(variant))
    model.metadata.update(version=info["version"], imgsz=info["imgsz"], classes=len(info["names"]))


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def evaluate_detector(
    data: str,
    dataset: Input[Dataset],
    variant: dict,
    model: Input[Model],
    evaluation: Output[Artifact],
    metrics: Output[Metrics],
    confusion: Output[ClassificationMetrics],
    report: Output[HTML],
) -> None:
    """Measure the exported detector on the test images.

    Args:
        data: Folder of photos that the dataset refers to.
        dataset: Dataset whose test images are used.
        variant: Settings that the model was made with.
        model: Model folder.
        evaluation: Metrics, and per image what the gate compares.
        metrics: Mean average precision at IoU 0.5 and over 0.5 to 0.95.
        confusion: Which class is taken for which.
        report: Metrics by class and slice, and pictures of the worst mistakes.
    """
    from hakka.detector.evaluate import evaluate
    from hakka.run import paths, present, present_confusion

    result = evaluate(*paths(model, dataset, data, evaluation), variant)
    present(result, metrics, *paths(evaluation, report))
    present_confusion(result, confusion)


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def choose_variant(
    checkpoints: Input[List[Model]],  # noqa: UP006
    models: Input[List[Model]],  # noqa: UP006
    evaluations: Input[List[Artifact]],  # noqa: UP006
    latency_budget_ms: float,
    checkpoint: Output[Model],
    model: Output[Model],
    evaluation: Output[Artifact],
    comparison: Output[Markdown],
) -> None:
    """Choose the variant with the best mAP50 on the test images among those that are fast enough.

    Args:
        checkpoints: Checkpoint of every variant.
        models: Model folder of every variant.
        evaluations: Evaluation of every variant.
        latency_budget_ms: Milliseconds that the exported model may take a photo; 0 for any.
        checkpoint: That of the chosen variant.
        model: That of the chosen variant.
        evaluation: That of the chosen variant, with the comparison of all.
        comparison: Table of all variants.
    """
    from hakka.detector.variants import choose
    from hakka.run import paths

    found = (paths(*checkpoints), paths(*models), paths(*evaluations))
    chosen = choose(*found, latency_budget_ms, paths(checkpoint, model, evaluation, comparison))
    model.metadata.update(version=chosen["version"], candidates=chosen["candidates"])


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def evaluate_champion(
    data: str, dataset: Input[Dataset], evaluation: Output[Artifact], metrics: Output[Metrics]
) -> None:
    """Measure today's champion on the same test images, if there is a champion.

    Args:
        data: Folder of photos that the dataset refers to.
        dataset: Dataset whose test images are used.
        evaluation: Metrics, and per image what the gate compares.
        metrics: Mean average precision at IoU 0.5 and over 0.5 to 0.95.
    """
    from hakka.detector.evaluate import evaluate_champion
    from hakka.run import paths, present
    from hakka.settings import read_settings

    result = evaluate_champion(read_settings().registry, *paths(dataset, data, evaluation))
    present(result, metrics)

"""Steps that train, export and measure a detector."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Input, Metrics, Model, Output

from hakka.images import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def train_detector(
    data: str,
    dataset: Input[Dataset],
    weights: str,
    model: str,
    epochs: int,
    imgsz: int,
    batch: int,
    seed: int,
    device: str,
    checkpoint: Output[Model],
    progress: Output[Metrics],
) -> None:
    """Train a detector on the dataset's training images.

    Args:
        data: Folder of photos that the dataset refers to.
        dataset: Labels and index of the training and validation images.
        weights: Weights to start from: auto, starter, scratch, a file, or a published name such as yolo26n.pt.
        model: Architecture, such as yolo26n; empty for that of the weights.
        epochs: Passes over the training images; 0 to choose by whether the weights know the classes.
        imgsz: Side of the square training image, in pixels.
        batch: Images a step.
        seed: Seed of every random choice.
        device: Device to train on: auto, cpu, or the number of a GPU.
        checkpoint: Weights without pickle, and the history of every epoch.
        progress: Figures of the training.
    """
    from hakka.detector.train import TrainParams, train
    from hakka.params import read_section
    from hakka.run import paths, present

    given = {"weights": weights, "model": model, "epochs": epochs, "imgsz": imgsz, "batch": batch, "seed": seed}
    present(
        train(*paths(dataset, data, checkpoint), read_section(TrainParams, "train", device=device, **given)), progress
    )


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def export_detector(data: str, dataset: Input[Dataset], checkpoint: Input[Model], model: Output[Model]) -> None:
    """Export a checkpoint to the model folder that is served: no pickle, no torch.

    Args:
        data: Folder of photos that the dataset refers to.
        dataset: Dataset that the checkpoint was trained on; its val images make the reference of the drift watch.
        checkpoint: Trained weights.
        model: OpenVINO and ONNX files, and a record of names, sizes and digests.
    """
    from hakka.detector.export import export
    from hakka.run import paths

    info = export(*paths(checkpoint, dataset, data, model))
    model.metadata.update(version=info["version"], imgsz=info["imgsz"], classes=len(info["names"]))


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def evaluate_detector(
    data: str,
    dataset: Input[Dataset],
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
        model: Model folder.
        evaluation: Metrics, and per image what the gate compares.
        metrics: Mean average precision at IoU 0.5 and over 0.5 to 0.95.
        confusion: Which class is taken for which.
        report: Metrics by class and slice, and pictures of the worst mistakes.
    """
    from hakka.detector.evaluate import evaluate
    from hakka.run import paths, present, present_confusion

    result = evaluate(*paths(model, dataset, data, evaluation))
    present(result, metrics, *paths(evaluation, report))
    present_confusion(result, confusion)


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

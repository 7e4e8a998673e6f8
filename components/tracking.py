"""The step that writes down what a run did."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Markdown, Metrics, Model, Output

from hakka.images import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def track_run(
    data: str,
    data_revision: str,
    run: str,
    version: str,
    dataset: Input[Dataset],
    validation: Input[Artifact],
    checkpoint: Input[Model],
    model: Input[Model],
    evaluation: Input[Artifact],
    decision: Input[Artifact],
    record: Output[Artifact],
    figures: Output[Metrics],
    report: Output[HTML],
    model_card: Output[Markdown],
    dataset_card: Output[Markdown],
) -> None:
    """Write the record of the run and mirror it to ClearML; a mirror that fails is a warning.

    Args:
        data: Folder of photos and annotations.
        data_revision: Revision of that folder.
        run: Pipeline run.
        version: The champion's version after the run; empty if there is none.
        dataset: The converted dataset.
        validation: Results of the data checks.
        checkpoint: Trained weights and the history of every epoch.
        model: Model folder of the new detector.
        evaluation: Evaluation of the new detector.
        decision: What the gate said.
        record: The run record as JSON and as a page, and the cards.
        figures: Counts and metrics of the run.
        report: The page.
        model_card: What the detector is, what it was made from, how good it is and what it is not for.
        dataset_card: What the dataset holds, how it was made, and what is wrong with it.
    """
    from hakka.run import Sources, lineage, paths, present, present_cards, track

    folders = Sources(*paths(dataset, validation, checkpoint, model, evaluation, decision))
    result = track(*paths(record), folders, version, lineage(data, data_revision, run))
    present(result, figures, *paths(record, report))
    present_cards(*paths(record, model_card, dataset_card))

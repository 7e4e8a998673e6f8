"""The step that writes down what a run did."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output

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
    evaluation: Input[Artifact],
    decision: Input[Artifact],
    record: Output[Artifact],
    figures: Output[Metrics],
    report: Output[HTML],
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
        evaluation: Evaluation of the new detector.
        decision: What the gate said.
        record: The run record as JSON and as a page.
        figures: Counts and metrics of the run.
        report: The page.
    """
    from hakka.run import Sources, lineage, paths, present, track

    folders = Sources(*paths(dataset, validation, checkpoint, evaluation, decision))
    result = track(*paths(record), folders, version, lineage(data, data_revision, run))
    present(result, figures, *paths(record, report))

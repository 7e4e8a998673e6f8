"""Steps that turn photos and annotations into a dataset that may be trained on."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Output

from hakka.images import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def fingerprint_data(data: str, data_revision: str) -> str:
    """Name the state of the data, so that steps are reused only while it stays the same.

    Args:
        data: Folder of photos and annotation files.
        data_revision: Revision that the caller knows, for example of DVC; empty to take a fingerprint of the folder.

    Returns:
        The revision.
    """
    from pathlib import Path

    from hakka.data.fingerprint import fingerprint

    return data_revision or fingerprint(Path(data))


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def convert_annotations(
    data: str,
    data_revision: str,
    annotation_format: str,
    dataset: Output[Dataset],
    counts: Output[Metrics],
    report: Output[HTML],
) -> None:
    """Convert annotation files into labels and an index; the photos stay where they are.

    Args:
        data: Folder of photos and annotation files.
        data_revision: Revision of that folder; part of the key under which the output is reused.
        annotation_format: Format of the annotation files, or auto to find out.
        dataset: Labels, index and report; refers to photos by their name in the data folder.
        counts: Images and boxes found, converted, clipped and refused.
        report: What was refused and clipped, and why.
    """
    from hakka.data.convert import SplitParams, convert
    from hakka.params import read_section
    from hakka.run import paths, present

    result = convert(*paths(data, dataset), format=annotation_format, params=read_section(SplitParams, "split"))
    present(result, counts, *paths(dataset, report))


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def validate_dataset(
    data: str, dataset: Input[Dataset], validation: Output[Artifact], counts: Output[Metrics], report: Output[HTML]
) -> None:
    """Run the data checks over a dataset.

    Args:
        data: Folder of photos that the dataset refers to.
        dataset: Labels and index to check.
        validation: Results of every check, as JSON, JUnit XML and HTML.
        counts: Number of errors and warnings.
        report: The checks and their findings.
    """
    from hakka.quality.validate import validate
    from hakka.run import paths, present

    result = validate(*paths(dataset, data, validation))
    present(result, counts, *paths(validation, report))


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def accept_dataset(validation: Input[Artifact]) -> None:
    """Stop the pipeline here, with the reason, if a data check said no.

    Args:
        validation: Results of the data checks.
    """
    from hakka.run import paths, require_passed

    require_passed(*paths(validation))

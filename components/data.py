"""Steps that turn photos and annotations into a dataset that may be trained on."""

from typing import List, NamedTuple  # noqa: UP035  (kfp reads the type of a list from typing's form)

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Output

from hakka.images import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def prepare_data(data: str, data_revision: str) -> NamedTuple(
    "Prepared", [("folder", str), ("revision", str), ("earlier", str)]
):
    """Lay the wanted version of the data ready, and name it, so that steps are reused only while it stays the same.

    It also names the accepted dataset whose splits the version keeps.

    Args:
        data: Folder of photos and annotation files.
        data_revision: Git revision of that folder under DVC; empty for the folder as it lies.
    """
    from hakka.run import prepare_data

    return prepare_data(data, data_revision)


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def list_images(
    data: str, data_revision: str, annotation_format: str, shards: int, images: Output[Artifact]
) -> List[str]:  # noqa: UP006
    """List the images that the annotations name, and the shards in which they are looked at.

    Args:
        data: Folder of photos and annotation files.
        data_revision: Revision of that folder; part of the key under which the output is reused.
        annotation_format: Format of the annotation files, or auto to find out.
        shards: Number of shards.
        images: Names of the images, one a line.

    Returns:
        The shards, such as 1/2 and 2/2.
    """
    from hakka.data.shards import list_images
    from hakka.run import paths

    return list_images(*paths(data), annotation_format, shards, *paths(images))


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def scan_images(
    data: str, data_revision: str, images: Input[Artifact], shard: str, scans: Output[Artifact], counts: Output[Metrics]
) -> None:
    """Look at every image of one shard: is it whole, how large is it, what is its digest, what does it look like.

    Args:
        data: Folder of the photos.
        data_revision: Revision of that folder; part of the key under which the output is reused.
        images: Names of the images of all shards.
        shard: The shard, such as 2/4.
        scans: What was seen, one image a line.
        counts: Images looked at, bytes read, images with a problem.
    """
    from hakka.data.shards import scan_shard
    from hakka.run import paths, present

    present(scan_shard(*paths(data, images, scans), shard), counts)


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def convert_annotations(
    data: str,
    data_revision: str,
    annotation_format: str,
    scans: Input[List[Artifact]],  # noqa: UP006
    dataset: Output[Dataset],
    counts: Output[Metrics],
    report: Output[HTML],
    earlier: str = "",
) -> None:
    """Convert annotation files into labels and an index; no photo is opened or copied.

    Args:
        data: Folder of photos and annotation files.
        data_revision: Revision of that folder; part of the key under which the output is reused.
        annotation_format: Format of the annotation files, or auto to find out.
        scans: What was seen on the images, of every shard.
        dataset: Labels, index and report; refers to photos by their name in the data folder.
        counts: Images and boxes found, converted, clipped and refused.
        report: What was refused and clipped, and why.
        earlier: Digest of the accepted dataset whose photos keep their split; empty for none.
    """
    from hakka.run import convert_data, paths, present

    result = convert_data(*paths(data, dataset), annotation_format, paths(*scans), earlier)
    present(result, counts, *paths(dataset, report))


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def validate_dataset(
    data: str,
    source: str,
    dataset: Input[Dataset],
    scans: Input[List[Artifact]],  # noqa: UP006
    validation: Output[Artifact],
    counts: Output[Metrics],
    report: Output[HTML],
) -> None:
    """Run the data checks over a dataset.

    Args:
        data: Folder of photos that the dataset refers to.
        source: Folder that the data is known by; its last accepted version is what drift is measured from.
        dataset: Labels and index to check.
        scans: What was seen on the images, of every shard.
        validation: Results of every check, as JSON, JUnit XML and HTML.
        counts: Number of errors and warnings.
        report: The checks and their findings.
    """
    from hakka.run import check_dataset, paths, present

    result = check_dataset(*paths(dataset, data, validation), paths(*scans), source)
    present(result, counts, *paths(validation, report))


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def accept_dataset(validation: Input[Artifact], dataset: Input[Dataset], source: str, data_revision: str) -> None:
    """Stop the pipeline here, with the reason, if a data check said no; else remember the data for its next version.

    Args:
        validation: Results of the data checks.
        dataset: Labels and index; the next version keeps its splits.
        source: Folder that the data is known by.
        data_revision: Revision of that folder.
    """
    from hakka.run import accept_data, paths

    accept_data(*paths(validation, dataset), source, data_revision)

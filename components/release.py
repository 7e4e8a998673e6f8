"""Steps that decide whether a detector takes the champion's place, and put it there."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import Artifact, Input, Model, Output

from hakka.images import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def decide_promotion(challenger: Input[Artifact], champion: Input[Artifact], decision: Output[Artifact]) -> NamedTuple(
    "Verdict", [("promote", bool), ("reason", str)]
):
    """Decide whether the challenger may take the champion's place.

    Args:
        challenger: Evaluation of the new detector.
        champion: Evaluation of today's champion on the same images.
        decision: The verdict and the numbers behind it.
    """
    from hakka.detector.gate import GateParams, decide
    from hakka.params import read_section
    from hakka.run import paths

    verdict = decide(*paths(challenger, champion, decision), read_section(GateParams, "gate"))
    return verdict.promote, verdict.reason


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def promote_model(model: Input[Model], evaluation: Input[Artifact], data: str, data_revision: str, run: str) -> str:
    """Register the model as a version that never changes, and make it the champion.

    Args:
        model: Model folder.
        evaluation: Its evaluation; the metrics are stored with the version.
        data: Folder of photos and annotations that it was trained on.
        data_revision: Revision of that folder.
        run: Pipeline run that made it.

    Returns:
        The version.
    """
    from hakka.registry import publish
    from hakka.run import lineage, paths
    from hakka.settings import read_settings

    origin = lineage(data, data_revision, run)
    return publish(*paths(model, evaluation), read_settings().registry, channel="champion", lineage=origin)


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def keep_champion(reason: str) -> str:
    """Leave the champion where it is and say why.

    Args:
        reason: What the gate said.

    Returns:
        The champion's version; empty if there is none.
    """
    from hakka.registry import champion
    from hakka.settings import read_settings

    print(f"the champion stays: {reason}", flush=True)
    return champion(read_settings().registry) or ""


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def deploy_model(version: str, target: str) -> str:
    """Serve a registered version.

    Args:
        version: Version in the registry.
        target: Where to serve it: auto, or one of the targets of hakka.deploy.

    Returns:
        Where it is served now.
    """
    from hakka.deploy import deploy

    return deploy(version, target=target)

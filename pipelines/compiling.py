"""The compiled pipeline: what a cluster gets, and the same for this machine."""

import io
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler
from kfp.dsl.base_component import BaseComponent

from hakka.detector.train import TrainParams
from hakka.files import write_whole
from hakka.params import read_section
from pipelines.cluster import ClusterParams, check_device

COMPILED = Path(__file__).resolve().parent / "hakka-training.yaml"


def compile_training() -> str:
    """The training pipeline as the YAML that Kubeflow Pipelines takes."""
    from pipelines.training import training

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pipeline.yaml")
        compiler.Compiler().compile(training, str(path))
        return path.read_text()


def write_compiled(path: Path = COMPILED) -> Path:
    """Write the compiled training pipeline, whole.

    Raises:
        InvalidInput: params.yaml names a device that the steps do not get.
    """
    check_device(read_section(TrainParams, "train").device, read_section(ClusterParams, "cluster"))
    write_whole(path, compile_training())
    return path


def load_for_local() -> BaseComponent:
    """The training pipeline without the environment that only a cluster has: here the caller's own counts."""
    from pipelines.training import training

    pipeline = deepcopy(training)
    for executor in pipeline.pipeline_spec.deployment_spec["executors"].values():
        executor["container"].fields.pop("env", None)
    return pipeline


def read_parameters(document: str) -> dict[str, dict[str, Any]]:
    """The parameters of a compiled pipeline by name: ``parameterType``, ``description``, ``defaultValue``."""
    spec = next(yaml.safe_load_all(io.StringIO(document)))
    return dict(spec["root"]["inputDefinitions"]["parameters"])

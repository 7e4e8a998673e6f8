"""What the steps need of a cluster. A local run ignores all of it."""

import logging
from dataclasses import dataclass, field

from kfp import kubernetes
from kfp.dsl import PipelineTask

from hakka.errors import InvalidInput

LOGGER = logging.getLogger(__name__)
VOLUME = "hakka-home"
HOME = "/var/lib/hakka"
# Argo counts it from the start of the first try: later a failed step is not tried again, and a try that runs is cut
# off. kfp's own hour would leave long trainings without retries (its issue 14245).
RETRIED_FOR = "30d"


@dataclass(frozen=True)
class ClusterParams:
    """Section ``cluster`` of params.yaml: what the steps ask for. Sizes in the notation of Kubernetes.

    ``gpus`` counts devices of the resource ``gpu``; 0 trains on the CPU. The steps that train, and the one that plans
    the variants and may search, run on nodes with the labels of ``node_selector``, also on those whose taints
    ``tolerations`` names (key, operator, value, effect). Each is tried again ``retries`` times, every time from its
    last epoch, and each try may take ``deadline_minutes`` (0: no limit). These steps stand in an inner pipeline, where
    Kubeflow Pipelines retries from 2.14 on. The ``scan_`` sizes are those of one shard, of which at most
    ``scans_at_once`` run.
    """

    cpus: str = "4"
    memory: str = "8Gi"
    shared_memory: str = "2Gi"
    gpu: str = "nvidia.com/gpu"
    gpus: int = 0
    node_selector: dict[str, str] = field(default_factory=dict)
    tolerations: list[dict[str, str]] = field(default_factory=list)
    retries: int = 0
    deadline_minutes: int = 0
    scan_cpus: str = "2"
    scan_memory: str = "2Gi"
    scans_at_once: int = 8


def check_device(device: str, params: ClusterParams) -> None:
    """Hold ``train.device`` against the GPUs that a training gets; that some of them stay idle is a warning.

    Raises:
        InvalidInput: a training would look in vain for a device.
    """
    numbers = [int(number) for number in device.split(",")] if device[0].isdecimal() else []
    if device == "mps" or max(numbers, default=-1) >= params.gpus:
        known = f"auto, cpu or numbers below cluster.gpus, which is {params.gpus}"
        raise InvalidInput(f"train.device must be {known}, got {device!r}")
    used = len(numbers) or int(device == "auto")
    if used < params.gpus:
        text = "a training uses %d of the %d GPUs of cluster.gpus: train.device is %s"
        LOGGER.warning(text, used, params.gpus, device)


def keep_home(task: PipelineTask) -> PipelineTask:
    """Mount the volume of data, registry and records, and name it to the step."""
    kubernetes.mount_pvc(task, pvc_name=VOLUME, mount_path=HOME)
    return task.set_env_variable("HAKKA_HOME", HOME)


def give_compute(task: PipelineTask, params: ClusterParams) -> PipelineTask:
    """Ask for what training needs; the data loader's processes hand images over in shared memory."""
    kubernetes.empty_dir_mount(
        task,
        volume_name="shared-memory",
        mount_path="/dev/shm",  # noqa: S108  (a mount, not a temporary file)
        medium="Memory",
        size_limit=params.shared_memory,
    )
    task.set_cpu_limit(params.cpus).set_memory_limit(params.memory)
    if params.gpus:
        task.set_accelerator_type(params.gpu).set_accelerator_limit(params.gpus)
    for label, value in params.node_selector.items():
        kubernetes.add_node_selector(task, label, value)
    for toleration in params.tolerations:
        kubernetes.add_toleration(task, **toleration)
    if params.retries:
        task.set_retry(params.retries, backoff_duration="60s", backoff_max_duration=RETRIED_FOR)
    if params.deadline_minutes:
        kubernetes.set_timeout(task, 60 * params.deadline_minutes)
    return task


def give_scan_compute(task: PipelineTask, params: ClusterParams) -> PipelineTask:
    """Ask for what one shard of the look at the images needs."""
    return task.set_cpu_limit(params.scan_cpus).set_memory_limit(params.scan_memory)


def always(task: PipelineTask) -> PipelineTask:
    """Run the step every time: it reads or changes what its inputs do not name."""
    return task.set_caching_options(enable_caching=False)

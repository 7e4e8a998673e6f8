"""What the steps need of a cluster. A local run ignores all of it."""

from dataclasses import dataclass

from kfp import kubernetes
from kfp.dsl import PipelineTask

VOLUME = "hakka-home"
HOME = "/var/lib/hakka"


@dataclass(frozen=True)
class ClusterParams:
    """Section ``cluster`` of params.yaml: what a training step asks for. Sizes in the notation of Kubernetes.

    ``gpus`` counts devices of the resource ``gpu``; 0 trains on the CPU.
    """

    cpus: str = "4"
    memory: str = "8Gi"
    shared_memory: str = "2Gi"
    gpu: str = "nvidia.com/gpu"
    gpus: int = 0


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
    return task


def always(task: PipelineTask) -> PipelineTask:
    """Run the step every time: it reads or changes what its inputs do not name."""
    return task.set_caching_options(enable_caching=False)

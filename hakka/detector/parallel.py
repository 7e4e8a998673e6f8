"""The trainer, run in this process, or on several GPUs in a process each: ``python -m hakka.detector.parallel ORDER``.

ultralytics would start such processes from a pickled trainer, which takes along what it knew in the process that made
it: its rank, and an ultralytics that was not made ready. Here every process is made ready itself, and each makes the
trainer anew. torch's launcher brings them together; what they leave is the snapshot that the first of them writes.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hakka.cores import usable_cores
from hakka.detector.progress import progress
from hakka.detector.snapshots import Snapshots
from hakka.detector.torch_compat import load_ultralytics
from hakka.detector.trainer import make_trainer
from hakka.errors import InvalidInput, Unavailable
from hakka.signals import end_with_parent


def run_trainer(overrides: dict[str, Any], module: Any, snapshots: Snapshots) -> None:
    """Train a detection model to the end in this process, from the snapshot if there is one."""
    trainer = make_trainer(overrides, module, snapshots)
    if trainer.is_first:
        for event, callback in progress().items():
            trainer.add_callback(event, callback)
    trainer.train()


def run_trainers(overrides: dict[str, Any], module: Any, snapshots: Snapshots) -> None:
    """As :func:`run_trainer`, in one process for each GPU of ``overrides["device"]``; they end when this one does.

    Raises:
        InvalidInput: one of them failed, and said why on stderr.
        Unavailable: they were killed.
    """
    import torch

    order = {
        "overrides": overrides,
        "architecture": module.yaml,
        "names": module.names,
        "weights": module.state_dict(),
        "snapshots": str(snapshots.folder),
        "config": os.environ["YOLO_CONFIG_DIR"],
    }
    path = Path(overrides["project"]) / "order.pt"
    torch.save(order, path)
    gpus = overrides["device"].count(",") + 1
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={gpus}"]
    process = subprocess.Popen(
        [*launcher, "-m", __spec__.name, str(path)],
        env={**os.environ, "OMP_NUM_THREADS": str(max(usable_cores() // gpus, 1))},
        start_new_session=True,  # Ctrl-C comes to us alone
        preexec_fn=end_with_parent,
    )
    try:
        code = process.wait()
    finally:
        process.kill()  # if it is still there: asked to end it would print a traceback; the others end with it
        process.wait()
    what = f"training on the GPUs {overrides['device']}"
    if code < 0:
        raise Unavailable(f"{what}: it was ended by signal {-code}; run it again")
    if code:
        raise InvalidInput(f"{what}: a process failed with exit code {code}, and said why above")


def main() -> None:
    """Train as one of several processes."""
    import torch

    end_with_parent()
    order = torch.load(sys.argv[1], weights_only=True)
    load_ultralytics(Path(order["config"]))
    from ultralytics.nn.tasks import DetectionModel

    module = DetectionModel(order["architecture"], ch=3, verbose=False)
    module.load_state_dict(order["weights"])
    module.names = order["names"]
    run_trainer(order["overrides"], module, Snapshots(Path(order["snapshots"])))


if __name__ == "__main__":
    main()

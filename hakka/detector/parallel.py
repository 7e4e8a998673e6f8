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

from hakka.detector.progress import progress
from hakka.detector.snapshots import Snapshots
from hakka.detector.torch_compat import load_ultralytics
from hakka.detector.trainer import make_trainer
from hakka.errors import Unavailable
from hakka.signals import end_with_parent

_STOP_WITHIN = 40  # seconds: torch's launcher itself gives its processes 30


def run_trainer(overrides: dict[str, Any], module: Any, snapshots: Snapshots) -> None:
    """Train a detection model to the end in this process, from the snapshot if there is one."""
    state = snapshots.load()
    done = 0 if state is None else len(state["history"])
    trainer = make_trainer(overrides, module, snapshots)
    if trainer.is_first:
        for event, callback in progress(overrides["epochs"], done).items():
            trainer.add_callback(event, callback)
    trainer.train()


def run_trainers(overrides: dict[str, Any], module: Any, snapshots: Snapshots) -> None:
    """As :func:`run_trainer`, in one process for each GPU of ``overrides["device"]``; they end when this one does.

    Raises:
        Unavailable: one of them failed; what it said went to stderr.
    """
    import torch

    folder = Path(overrides["project"])
    order = {
        "overrides": overrides,
        "architecture": module.yaml,
        "names": module.names,
        "weights": module.state_dict(),
        "snapshots": str(snapshots.folder),
        "config": os.environ["YOLO_CONFIG_DIR"],
    }
    torch.save(order, folder / "order.pt")
    gpus = overrides["device"].count(",") + 1
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={gpus}"]
    with (folder / "errors.txt").open("w+b") as errors:
        process = subprocess.Popen(
            [*launcher, "-m", __spec__.name, str(folder / "order.pt")],
            stderr=errors,
            start_new_session=True,  # Ctrl-C comes to us, and we end them in order
            preexec_fn=end_with_parent,
        )
        try:
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait(_STOP_WITHIN)
            raise
        if code:
            errors.seek(0)
            sys.stderr.write(errors.read().decode(errors="replace"))
            raise Unavailable(f"training on the GPUs {overrides['device']}: a process ended with exit code {code}")


def main() -> None:
    """Train as one of several processes."""
    import torch

    order = torch.load(sys.argv[1], weights_only=True)
    load_ultralytics(Path(order["config"]))
    from ultralytics.nn.tasks import DetectionModel

    module = DetectionModel(order["architecture"], ch=3, verbose=False)
    module.load_state_dict(order["weights"])
    module.names = order["names"]
    run_trainer(order["overrides"], module, Snapshots(Path(order["snapshots"])))


if __name__ == "__main__":
    main()

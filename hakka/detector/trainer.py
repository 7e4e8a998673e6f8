"""ultralytics' trainer, made to be stopped at any epoch and to go on as if it had not been.

ultralytics can resume as well, but from weights and optimiser rounded to 16 bits, without the weights that are not
averaged, and with other random numbers: a resumed run ends elsewhere. Here every epoch draws its random numbers from
the seed and its own number, and a snapshot holds everything else that the next epoch depends on. Where images are
loaded in the training process (``workers`` 0, so on one or two cores) a run that went on gives the same bytes as one
that was never stopped; with loader processes, which draw their own numbers, the same but for the order of the images.
"""

import io
import random
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from hakka.detector.snapshots import Snapshots


def make_trainer(overrides: dict[str, Any], module: Any, snapshots: Snapshots) -> Any:
    """A trainer of ``module`` (a detection model) that writes a snapshot an epoch and goes on from the one it finds.

    ``overrides`` are ultralytics' settings. A callback appends a record an epoch to ``trainer.history`` and then calls
    ``trainer.end_epoch()``. Of the processes of a training on several GPUs only the one whose trainer ``is_first`` is
    told the figures, and only it may write.
    """
    import torch
    from ultralytics.models.yolo.detect import DetectionTrainer
    from ultralytics.utils import RANK, nms
    from ultralytics.utils.torch_utils import unwrap_model

    # Its NMS leaves out the images that remain after two seconds: on a busy machine the mAP, and with it the epoch that
    # counts as the best, would depend on the clock.
    nms.time = SimpleNamespace(time=lambda: 0.0)

    class Trainer(DetectionTrainer):  # type: ignore[misc]
        """See ``make_trainer``."""

        history: list[dict[str, float]]
        is_first = RANK in (-1, 0)
        _batches_a_step = 1
        _in_batch = False
        _batch = -1  # number of the batch since the start of the training
        _last_step = -1  # number of the batch at which the optimiser moved last
        _pending: list[Any] | None = None

        # The loop asks "batches since the last step >= accumulate", and keeps the last step to itself: what has been
        # gathered from batches at the end of an epoch would be forgotten by a run that goes on. So the answer is given
        # here, from a count that the snapshot holds.
        @property
        def accumulate(self) -> float:
            """Batches between two steps of the optimiser; within a batch 0 (a step is due) or infinity."""
            if not self._in_batch:
                return self._batches_a_step
            return 0 if self._batch - self._last_step >= self._batches_a_step else float("inf")

        @accumulate.setter
        def accumulate(self, batches: int) -> None:
            self._batches_a_step = batches

        def optimizer_step(self) -> None:
            """Move, and note when."""
            self._last_step = self._batch
            super().optimizer_step()

        def _build_train_pipeline(self) -> None:
            self._in_batch = False
            super()._build_train_pipeline()

        def resume_training(self, ckpt: Any) -> None:
            """Go on from the snapshot, if there is one."""
            state = snapshots.load()
            if state is not None:
                _restore(self, unwrap_model(self.model), state)

        def begin_epoch(self) -> None:
            """Make the epoch independent of how the process got here."""
            seed = self.args.seed + 100_003 * (self.epoch + 1) + max(RANK, 0)
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)
            if self.train_loader.num_workers == 0:
                self.train_loader.reset()
                self.train_loader.generator.manual_seed(seed)
                # What mosaics are put together from: of several processes a snapshot knows that of one alone.
                if self.world_size > 1:
                    self.train_loader.dataset.buffer.clear()
                    self.train_loader.dataset.ims[:] = [None] * len(self.train_loader.dataset.ims)
            if self._pending is not None:
                for parameter, gradient in zip(self.model.parameters(), self._pending, strict=True):
                    parameter.grad = None if gradient is None else gradient.to(parameter.device)
                self._pending = None

        def begin_batch(self) -> None:
            """Count."""
            self._batch += 1
            self._in_batch = True

        def end_batch(self) -> None:
            """The count is not asked for outside of a batch."""
            self._in_batch = False

        def end_epoch(self) -> None:
            """Write the snapshot."""
            snapshots.save(_state(self, unwrap_model(self.model)))

        def save_model(self) -> bool:
            """Write the weights, in 16 bits as ultralytics does, if they are the best so far."""
            if not all(torch.isfinite(tensor).all() for tensor in self.ema.ema.state_dict().values()):
                super().save_model()  # it mends an average that a step with NaN has spoilt
            elif self.best_fitness == self.fitness:
                best = deepcopy(self.ema.ema).half()
                best.criterion = None
                for tensor in best.state_dict().values():
                    torch.nan_to_num_(tensor)  # what was too large for 16 bits
                content = io.BytesIO()
                torch.save({"model": best, "train_args": vars(self.args)}, content)
                self.best.write_bytes(content.getvalue())  # torch would not say what is wrong with the disk
            return True

        def _handle_nan_recovery(self, epoch: int) -> bool:
            """After a loss that is NaN ultralytics goes back to the last epoch's file: write it, from the snapshot."""
            figures = [torch.as_tensor(figure) for figure in (self.loss, self.fitness) if figure is not None]
            is_fine = all(figure.isfinite().all() for figure in figures)
            state = snapshots.load() if self.is_first and not is_fine else None
            if state is not None:
                _write_last(self, state)
            went_back: bool = super()._handle_nan_recovery(epoch)
            return went_back

        def final_eval(self) -> None:
            """Nothing: the best weights are in the snapshot, and are measured as what they are exported to."""

    trainer = Trainer(overrides=overrides)
    trainer.model = module
    trainer.history = []
    for event, method in {
        "on_train_epoch_start": Trainer.begin_epoch,
        "on_train_batch_start": Trainer.begin_batch,
        "on_train_batch_end": Trainer.end_batch,
    }.items():
        trainer.add_callback(event, method)
    return trainer


def _state(trainer: Any, module: Any) -> dict[str, Any]:
    """Everything that the next epoch depends on, and the best weights so far as the bytes of their file."""
    import torch

    best = Path(trainer.best)
    return {
        "epoch": trainer.epoch,
        "stop": bool(trainer.stop),
        "history": trainer.history,
        "model": module.state_dict(),
        "ema": trainer.ema.ema.state_dict(),
        "updates": trainer.ema.updates,
        "optimizer": trainer.optimizer.state_dict(),
        "scaler": trainer.scaler.state_dict(),
        "gradients": [parameter.grad for parameter in trainer.model.parameters()],
        "batch": trainer._batch,
        "last_step": trainer._last_step,
        "best_fitness": None if trainer.best_fitness is None else float(trainer.best_fitness),
        "stopper": {name: _plain(getattr(trainer.stopper, name)) for name in ("best_fitness", "best_epoch")},
        "possible_stop": bool(trainer.stopper.possible_stop),
        "mosaic_buffer": list(trainer.train_loader.dataset.buffer),
        "best": torch.frombuffer(bytearray(best.read_bytes()), dtype=torch.uint8) if best.is_file() else None,
    }


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, np.floating) else value


def _write_last(trainer: Any, state: dict[str, Any]) -> None:
    """Write what a snapshot holds as ultralytics' own file of the last epoch."""
    import torch

    ema = deepcopy(trainer.ema.ema)
    ema.load_state_dict(state["ema"])
    ema.criterion = None
    kept = {name: state[name] for name in ("epoch", "updates", "optimizer", "scaler", "best_fitness", "stopper")}
    torch.save({**kept, "ema": ema, "train_args": vars(trainer.args)}, trainer.last)


def _restore(trainer: Any, module: Any, state: dict[str, Any]) -> None:
    module.load_state_dict(state["model"])
    trainer.ema.ema.load_state_dict(state["ema"])
    trainer.ema.updates = state["updates"]
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.scaler.load_state_dict(state["scaler"])
    trainer.best_fitness = state["best_fitness"]
    trainer.stopper.__dict__.update(state["stopper"], possible_stop=state["possible_stop"])
    trainer._pending = state["gradients"]
    trainer._batch, trainer._last_step = state["batch"], state["last_step"]
    trainer.history = list(state["history"])
    trainer.start_epoch = state["epoch"] + 1
    if trainer.is_first:
        write_best(Path(trainer.best), state)
    if getattr(module.model[-1], "one2one_cv2", None) is not None:  # how much each of the two heads counts
        module.criterion = module.init_criterion()
        module.criterion.updates = state["epoch"]
        module.criterion.update()
    if trainer.train_loader.num_workers == 0 and trainer.world_size < 2:
        for index in state["mosaic_buffer"]:  # the images that mosaics are put together from
            trainer.train_loader.dataset.load_image(index)


def write_best(path: Path, state: dict[str, Any]) -> None:
    """Write the best weights of a snapshot as the file that they were."""
    if state["best"] is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(state["best"].numpy().tobytes())

"""What a training tells while it runs: a record and a snapshot an epoch, and lines for people."""

import time
from collections.abc import Callable
from typing import Any

from hakka.cores import usable_cores

LINE_EVERY = 10.0  # seconds between two lines of progress within an epoch


def progress() -> dict[str, Callable[[Any], None]]:
    """Callbacks that keep the history and a snapshot an epoch, and print a line an epoch and one every few seconds.

    The time left is judged by the epochs since the start of this process.
    """
    state = {"begin": time.monotonic(), "line": time.monotonic(), "batch": 0.0}

    def say(text: str) -> None:
        state["line"] = time.monotonic()
        print(text, flush=True)

    def on_train_start(trainer: Any) -> None:
        import torch

        # ultralytics leaves a core idle; on two cores that is half of the machine
        torch.set_num_threads(max(usable_cores() // max(trainer.world_size, 1), 1))
        state["begin"] = time.monotonic()

    def on_train_epoch_start(_trainer: Any) -> None:
        state["batch"] = 0

    def on_train_batch_end(trainer: Any) -> None:
        state["batch"] += 1
        if time.monotonic() - state["line"] > LINE_EVERY:
            batches = len(trainer.train_loader)
            done = trainer.epoch + state["batch"] / batches
            percent = 100 * state["batch"] / batches
            say(f"epoch {trainer.epoch + 1}/{trainer.epochs}: {percent:.0f} %, {_left(trainer, done)} left")

    def on_fit_epoch_end(trainer: Any) -> None:
        metrics = {key: float(value) for key, value in trainer.metrics.items()}
        losses = {f"train_{k}": float(v) for k, v in trainer.label_loss_items(trainer.tloss, prefix="loss").items()}
        row = {
            "epoch": float(trainer.epoch + 1),
            "loss": sum(losses.values()),
            "val_map50": metrics.get("metrics/mAP50(B)", 0.0),
            "val_map50_95": metrics.get("metrics/mAP50-95(B)", 0.0),
            "val_precision": metrics.get("metrics/precision(B)", 0.0),
            "val_recall": metrics.get("metrics/recall(B)", 0.0),
        }
        trainer.history.append(row | {key.replace("/", "_"): value for key, value in losses.items()})
        trainer.end_epoch()
        say(
            f"epoch {trainer.epoch + 1}/{trainer.epochs}: loss {row['loss']:.3f}, val mAP50 {row['val_map50']:.3f}, "
            f"{_left(trainer, trainer.epoch + 1)} left"
        )

    def _left(trainer: Any, done: float) -> str:
        passed = time.monotonic() - state["begin"]
        seconds = passed / max(done - trainer.start_epoch, 1e-9) * (trainer.epochs - done)
        return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{max(seconds, 0):.0f} s"

    return {
        "on_train_start": on_train_start,
        "on_train_epoch_start": on_train_epoch_start,
        "on_train_batch_end": on_train_batch_end,
        "on_fit_epoch_end": on_fit_epoch_end,
    }

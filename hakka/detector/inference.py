"""How a model is run: which engine, how many threads and streams, how many pictures at once."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from hakka.detector.batching import Batcher, choose_batch
from hakka.detector.engine import Runner, choose_engine, choose_precision, compile_model

# Pictures in one inference when batches win: more would make the first of them wait long for little.
MAX_BATCH = 8


@dataclass(frozen=True)
class Plan:
    """What is wanted: ``engine`` by name or ``auto``, ``threads`` cores for inference (0: the engine chooses).

    ``streams`` inferences run side by side for callers from as many threads. ``batch`` is the most pictures in one
    inference; 0 is one for a model that takes any shape, and what a measurement says for another. A ``precision`` of
    f32 gives the same boxes on every CPU to the last digit that is shown, ``auto`` the most pictures a second (see
    ``hakka.detector.engine.choose_precision``).
    """

    engine: str = "auto"
    threads: int = 0
    streams: int = 1
    batch: int = 1
    precision: str = "f32"


@dataclass(frozen=True)
class Inference:
    """A model that runs: ``wide`` gives all threads to one picture, ``narrow`` gives most pictures a second.

    Both take pictures of any shape if it is ``flexible``, else squares only. The other fields say what was chosen;
    ``why`` is the reason for the batch.
    """

    wide: Runner
    narrow: Runner
    flexible: bool
    engine: str
    device: str
    precision: str
    threads: int
    streams: int
    batch: int
    why: str

    @property
    def summary(self) -> str:
        """All of it in one line."""
        runs = f"{self.engine} on {self.device} in {self.precision}, {self.threads} threads"
        return f"{runs}, batch {self.batch}: {self.why}"


def open_inference(folder: Path, size: int, plan: Plan) -> Inference:
    """Compile the model of a folder as the plan says; ``size`` is the longer side of its input in pixels.

    Raises:
        InvalidInput: the model has no file for the engine, or a batch is asked of one that cannot.
        Unavailable: the engine is not installed.
    """
    engine = choose_engine(folder, plan.engine)
    precision = choose_precision(plan.precision) if engine == "openvino" else "f32"
    compiled = partial(compile_model, folder, engine, size, threads=plan.threads, precision=precision)
    wide = compiled()
    streams = plan.streams if wide.device == "CPU" else 1  # a GPU works on one picture with all that it has
    narrow = compiled(streams=streams) if streams > 1 else wide

    def compile_batched(batch: int) -> Runner:
        return compiled(batch=batch).runner

    batch, why = plan.batch, "set"
    if not batch and narrow.flexible:
        # A batch takes squares, and a third more work for a photo of 4:3 is more than a batch wins on a CPU.
        batch, why = 1, "each photo in its own shape"
    elif not batch:
        batch, why = choose_batch(narrow.runner, compile_batched, size=size, streams=streams, limit=MAX_BATCH)
    if batch > 1:
        # The pictures of a batch have one shape, and a photo's boxes must not depend on how many are in work.
        narrow, streams = replace(narrow, runner=Batcher(compile_batched(batch), batch), flexible=False), 1
    return Inference(
        wide.runner,
        narrow.runner,
        narrow.flexible,
        engine=wide.engine,
        device=wide.device,
        precision=wide.precision,
        threads=plan.threads,
        streams=streams,
        batch=batch,
        why=why,
    )

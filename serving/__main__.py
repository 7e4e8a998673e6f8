"""``python -m serving``: open the port, load the version, serve until SIGTERM or Ctrl-C.

Exit code 0 after a drained stop, 2 for what stands in the way of a start, 130 for Ctrl-C before it was ready; both are
said in one sentence.
"""

import ctypes
import gc
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hakka.cores import usable_cores
from hakka.errors import HakkaError
from hakka.objects import Place
from hakka.settings import read_settings
from hakka.signals import release_signals
from serving.options import Options, read_options
from serving.sockets import address_of, fit_connections, listen

if TYPE_CHECKING:
    from hakka.monitor.log import PredictionLog
    from serving.model import HakkaModel

logger = logging.getLogger("hakka.serving")

# While one worker hands over its answer and takes the next photo, another one uses its core.
SPARE_WORKERS = 1
# How often the channel (or the link) is read; a switch is visible after this and the loading.
POLL_SECONDS = 1.0
# Bytes of memory that are asked of the system, and given back, each for itself; Pillow's blocks have 16 MiB.
LARGE_BLOCK = 8 * 1024 * 1024
# glibc's names of settings, malloc.h: from which size that is so, and how much free memory it keeps of smaller blocks.
M_MMAP_THRESHOLD = -3
M_TRIM_THRESHOLD = -1


def main(argv: Sequence[str] | None = None) -> int:
    """Serve as the command line says and give the exit code."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    try:
        release_signals()
        options = read_options(sys.argv[1:] if argv is None else argv, read_settings())
        plan_threads(options.threads or usable_cores())
        plan_memory()
        gc.disable()  # until all is loaded, see settle
        run(options)
    except HakkaError as error:
        print(f"serving: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("serving: stopped before it was ready", file=sys.stderr)
        return 130
    return 0


def plan_threads(cores: int) -> None:
    """Keep numerical libraries from starting threads for all of the host's cores; before they are imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, str(cores))


def plan_memory() -> None:
    """Let the memory of a large photo go back to the system when it is freed.

    The C library keeps what was freed for the thread that had it, and raises the size from which it does not do so with
    every large block: each worker would hold on to its largest photo. Setting that size once stops both. It then keeps
    128 KiB of what is smaller, and each photo would pay half a millisecond for fresh pages; so that is set too.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # missing where the C library is not glibc
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
        mallopt(M_TRIM_THRESHOLD, LARGE_BLOCK)


def settle() -> None:
    """Keep what is loaded out of garbage collections: one over all of it holds every request up for 0.1 s."""
    gc.collect()
    gc.freeze()
    gc.enable()


def run(options: Options) -> None:
    """Serve until a signal.

    Raises:
        HakkaError: the port is taken, the channel is empty, or the version cannot be loaded.
    """
    with listen(options.host, options.port) as listener:
        if options.grpc_port is not None:
            listen(options.host, options.grpc_port).close()
        # Imported late: a taken port is said before the seconds that KServe and the runtime need.
        from serving.callers import BURST
        from serving.fetch import Fetcher
        from serving.server import Limits, Ports, quiet_logs, serve

        quiet_logs()
        model = build_model(options)

        def ready() -> None:
            settle()
            loaded = model.versions.current
            how = loaded.detector.inference.summary
            print(f"Serving hakka {loaded.version} ({how}) at {address_of(listener)}", flush=True)

        grpc = None if options.grpc_port is None else f"{options.host}:{options.grpc_port}"
        connections = fit_connections(options.max_connections, 1 if grpc is None else 1 + BURST)
        if connections < options.max_connections:
            logger.warning("At most %d connections a port: this process may not have more files open", connections)
        limits = Limits(options.max_body, options.max_json, options.body_seconds, connections)
        serve(model, Fetcher(options.allow_urls, options.max_body), Ports(listener, grpc), limits, ready)


def build_model(options: Options) -> "HakkaModel":
    """The model with its first version loaded, its source watched and its log open."""
    import cv2

    from hakka.detector.inference import Plan
    from serving.admission import Admission
    from serving.model import HakkaModel
    from serving.versions import Versions

    # A photo is resized by the worker that has it; threads of its own would only compete with the other workers.
    cv2.setNumThreads(1)
    cores = options.threads or usable_cores()
    plan = Plan(options.engine, cores, cores, options.batch, options.precision)
    versions = Versions(resolver(options), plan)
    versions.watch(POLL_SECONDS)
    log = None if options.log is None else _open_log(options.log, options)
    return HakkaModel(versions, log, Admission(cores + SPARE_WORKERS, options.queue), options.max_pixels)


def _open_log(place: Place, options: Options) -> "PredictionLog":
    from hakka.monitor.log import PredictionLog

    return PredictionLog(place, days=options.log_days, keep_pictures=options.keep_images)


def resolver(options: Options) -> Callable[[], Path]:
    """What says which model folder to serve now: the one the channel names, or the given one (a link is followed)."""
    folder = options.model_dir
    if folder is not None:
        return folder.resolve
    from hakka.registry import resolve

    return lambda: resolve(options.channel, options.registry)


if __name__ == "__main__":
    sys.exit(main())

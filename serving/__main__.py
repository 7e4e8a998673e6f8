"""``python -m serving``: open the port, load the version, serve until SIGTERM or Ctrl-C.

Exit code 0 after a drained stop, 2 for what stands in the way of a start, said in one sentence.
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hakka.errors import HakkaError
from hakka.settings import read_settings
from serving.options import Options, read_options
from serving.sockets import address_of, listen

if TYPE_CHECKING:
    from serving.model import HakkaModel

# How often the channel (or the link) is read; a switch is visible after this and the loading.
POLL_SECONDS = 1.0


def main(argv: Sequence[str] | None = None) -> int:
    """Serve as the command line says and give the exit code."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    try:
        run(read_options(sys.argv[1:] if argv is None else argv, read_settings()))
    except HakkaError as error:
        print(f"serving: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("serving: stopped before it was ready", file=sys.stderr)
        return 2
    return 0


def run(options: Options) -> None:
    """Serve until a signal.

    Raises:
        HakkaError: the port is taken, the channel is empty, or the version cannot be loaded.
    """
    with listen(options.host, options.port) as listener:
        if options.grpc_port is not None:
            listen(options.host, options.grpc_port).close()
        # Imported late: a taken port is said before the seconds that KServe and the runtime need.
        from serving.server import Ports, quiet_logs, serve

        quiet_logs()
        model = build_model(options)

        def ready() -> None:
            print(f"Serving hakka {model.versions.current.version} at {address_of(listener)}", flush=True)

        grpc = None if options.grpc_port is None else f"{options.host}:{options.grpc_port}"
        serve(model, Ports(listener, grpc), max_body=options.max_body, ready=ready)


def build_model(options: Options) -> "HakkaModel":
    """The model with its first version loaded, its source watched and its log open."""
    from hakka.monitor.log import PredictionLog
    from serving.model import HakkaModel
    from serving.versions import Versions

    versions = Versions(resolver(options))
    versions.watch(POLL_SECONDS)
    log = None if options.log is None else PredictionLog(options.log)
    return HakkaModel(versions, log, workers=len(os.sched_getaffinity(0)))


def resolver(options: Options) -> Callable[[], Path]:
    """What says which model folder to serve now: the one the channel names, or the given one (a link is followed)."""
    folder = options.model_dir
    if folder is not None:
        return folder.resolve
    from hakka.registry import resolve

    return lambda: resolve(options.channel, options.registry)


if __name__ == "__main__":
    sys.exit(main())

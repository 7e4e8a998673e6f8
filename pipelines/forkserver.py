"""Steps are forked from a process that has imported what they need: ``python -m pipelines.forkserver FOLDER [now]``.

A step is a process of its own, and for most of them the imports take longer than the work; torch alone takes seconds,
in the training and again in the export. Here two processes import once: one what every step needs, and one also what
the detector's steps need, with ``now`` beside the first steps, else when the first of them is due. Each listens on a
socket in FOLDER and forks a process for each request of ``forkclient``.
"""

import marshal
import multiprocessing
import os
import signal
import socket
import sys
import traceback
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from select import select

from hakka.detector.engine import GPU_DEVICES
from hakka.detector.preload import preload
from pipelines.forkclient import LENGTH, STARTED

MODULES = (
    "kfp.dsl.executor_main",
    "hakka.run",
    "hakka.cards",
    "hakka.data.convert",
    "hakka.data.pinning",
    "hakka.detector.gate",
    "hakka.quality.validate",
    "hakka.registry",
)
FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Request:
    """A step that is asked for, its standard streams, and whom to tell how it ended."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]
    streams: list[int]
    client: socket.socket

    def close(self) -> None:
        """Let go of everything."""
        _close(self.streams)
        self.client.close()


def _close(streams: list[int]) -> None:
    for stream in streams:
        os.close(stream)


def main(folder: Path, *, now: bool) -> None:
    """Serve until standard input ends."""
    light, heavy = _listen(folder / "light"), _listen(folder / "heavy")
    for name in MODULES:
        import_module(name)
    # A process cannot use a GPU that its parent looked at.
    other = None if any(path.exists() for path in GPU_DEVICES) else os.fork()
    if other == 0:
        light.close()
        if now or _is_asked(heavy):
            preload()
            _serve(heavy)
        os._exit(0)  # to tidy up thousands of modules takes seconds
    heavy.close()
    _serve(light)
    for process in multiprocessing.active_children():
        process.join()
    if other:
        os.kill(other, signal.SIGTERM)  # it may be importing still
        os.waitpid(other, 0)


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.fspath(path))
    listener.listen()
    return listener


def _is_asked(listener: socket.socket) -> bool:
    """Wait for a request; False if standard input, on which nothing ever comes, ends before."""
    ready, _, _ = select([listener.fileno(), sys.stdin.fileno()], [], [])
    return sys.stdin.fileno() not in ready


def _serve(listener: socket.socket) -> None:
    """Start a process for each request."""
    while _is_asked(listener):
        client, _ = listener.accept()
        # A client that ended does not hear from us.
        with client, suppress(OSError, EOFError, ValueError), closing(_receive(client)) as request:
            FORK.Process(target=_handle, args=(request, listener)).start()


def _receive(client: socket.socket) -> Request:
    head, streams, _, _ = socket.recv_fds(client, LENGTH, 3)
    with ExitStack() as undo, client.makefile("rb") as file:
        undo.callback(_close, streams)
        arguments, folder, environment = marshal.loads(file.read(int.from_bytes(head)))  # noqa: S302  (our client's)
        undo.pop_all()
    return Request(arguments, folder, environment, streams, client)


def _handle(request: Request, listener: socket.socket) -> None:
    """Tell the client that its step was started, and how it ended."""
    listener.close()  # it would go on taking requests when the server is gone
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the step gets it too
    step = FORK.Process(target=_do, args=(request,))
    step.start()
    request.client.sendall(STARTED)
    step.join()
    request.client.sendall(str(step.exitcode).encode())


def _do(request: Request) -> None:
    """Be the step: its streams, folder, environment and arguments, then kfp's program for it."""
    from kfp.dsl.executor_main import executor_main

    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, stream in enumerate(request.streams):
            os.dup2(stream, number)
        request.close()
        os.chdir(request.folder)
        os.environ.clear()
        os.environ.update(request.environment)
        sys.argv[1:] = request.arguments
        executor_main()
    except (Exception, KeyboardInterrupt):
        traceback.print_exc()  # as Python itself would, without a line about this process
        sys.exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), now=sys.argv[2:] == ["now"])

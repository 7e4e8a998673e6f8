"""What stands in for ``python3`` in a step's command: it has the fork server do the step, and ends as the step does.

``python -I -S forkclient.py FOLDER PYTHON ARGUMENTS...`` is started for every step, so it imports little of the
standard library and nothing else. Where there is no server, it becomes ``PYTHON ARGUMENTS...``.
"""

import marshal
import os
import signal
import socket
import sys

EXECUTOR = ["-m", "kfp.dsl.executor_main"]
HEAVY = frozenset({"search_variants", "train_detector", "export_detector", "evaluate_detector"})
LENGTH = 8  # bytes in which a request's length is told
STARTED = b"s"


def main(folder: str, python: str, arguments: list[str]) -> None:
    """End as the step does."""
    if arguments[:2] == EXECUTOR:
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the step gets it too
        answer = ask(folder, arguments[2:])
        if answer.startswith(STARTED):
            sys.exit(int(answer[1:] or 1))  # nothing behind it: whoever waits for the step was ended
        signal.signal(signal.SIGINT, handler)
    os.execv(python, [python, *arguments])  # noqa: S606  (the command is ours)


def ask(folder: str, arguments: list[str]) -> bytes:
    """What the server says of a step: that it was started, then its exit code; nothing if there is no server."""
    request = marshal.dumps((arguments, os.getcwd(), dict(os.environ)))  # noqa: PTH109  (pathlib takes milliseconds)
    answer = b""
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(f"{folder}/light" if HEAVY.isdisjoint(arguments) else f"{folder}/heavy")
            socket.send_fds(server, [len(request).to_bytes(LENGTH)], [0, 1, 2])
            server.sendall(request)
            while part := server.recv(64):
                answer += part
    except OSError:
        pass
    return answer


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])

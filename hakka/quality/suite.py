"""The suite as a process of its own: it loads pytest and the checks while its parent still prepares what to ask.

Nothing but the standard library is imported at the top, because every import here delays both processes.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NoReturn

_HOME = Path(__file__).resolve().parents[2]  # the folder of the ``hakka`` that runs


class Suite:
    """One run of pytest on the checks, in a process that begins to load at once. Leaving the context ends it.

    ``looks`` is what to give as ``--scans`` where the scans come by ``send``.
    """

    def __init__(self) -> None:
        orders, to_orders = os.pipe()  # closes when this process ends in whatever way, and takes the suite with it
        looks, to_looks = os.pipe()
        self.looks = f"/dev/fd/{looks}"
        self._orders, self._looks = os.fdopen(to_orders, "wb"), os.fdopen(to_looks, "wb")
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  (closed on leaving the context)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(orders)],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                pass_fds=(orders, looks),
            )
        finally:
            os.close(orders)
            os.close(looks)

    def __enter__(self) -> "Suite":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for file in (self._orders, self._looks, self._output):
            with suppress(BrokenPipeError):
                file.close()

    def begin(self, folder: Path, arguments: Sequence[str]) -> None:
        """Run pytest in ``folder`` with ``arguments``."""
        with suppress(BrokenPipeError):  # it has ended already; ``wait`` tells
            self._orders.write(json.dumps([str(folder), *arguments]).encode() + b"\n")
            self._orders.flush()

    def send(self, lines: Iterable[bytes]) -> None:
        """Hand over the lines of scans, as they come; stops asking for more when the suite has ended."""
        with suppress(BrokenPipeError):
            self._looks.writelines(lines)
            self._looks.close()

    def wait(self) -> int:
        """The exit code, when it has ended."""
        return self._process.wait()

    def last_words(self) -> str:
        """The last line that it printed, empty if there is none."""
        self._output.seek(max(0, self._output.seek(0, os.SEEK_END) - 10_000))
        lines = [line for line in self._output.read().decode(errors="replace").splitlines() if line.strip(" .")]
        return lines[-1] if lines else ""


def _environment() -> dict[str, str]:
    """This process's environment without what would change pytest, and with the ``hakka`` that runs in front."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "COV_"))}
    paths = [str(_HOME), environ.get("PYTHONPATH", "")]
    environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    environ["PYTHONDONTWRITEBYTECODE"] = "1"
    return environ


def main() -> NoReturn:
    """The other side: load, take one line of orders from the pipe that is named, obey, and end."""
    import pytest

    import hakka.quality.plugin  # noqa: F401  (what takes long to load is there when the orders come)

    orders = int(sys.argv[1])
    with os.fdopen(orders, "rb", buffering=0, closefd=False) as pipe:
        line = pipe.readline()
    code = 0
    if line:  # else the parent has gone
        folder, *arguments = json.loads(line)
        os.chdir(folder)
        code = int(pytest.main([*arguments, f"--parent-pipe={orders}"]))
    sys.stdout.flush()
    os._exit(code)  # whoever waits need not wait until a hundred modules are tidied up


if __name__ == "__main__":
    main()

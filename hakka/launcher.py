"""Everything on one machine: the pipeline once, then the endpoint and the app until Ctrl-C."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

from hakka.errors import NotFound, Unavailable
from hakka.registry import champion
from hakka.settings import Settings, read_settings
from hakka.signals import Interrupted, end_with_parent, interruptible

READY_WITHIN = 120.0  # seconds; the first import of a package on a slow disk takes its time
STOP_WITHIN = 15.0
INTERRUPTED = 130
NOTHING_PROMOTED = "train longer (hakka run --epochs N), start from other weights, or lower gate.floor in params.yaml"


def launch(data: str | None) -> int:
    """Run the pipeline on ``data`` (None: not at all), then serve endpoint and app, and return the exit code.

    A gate that keeps the champion is no reason not to serve. Ctrl-C or SIGTERM stops both servers and gives 0.

    Raises:
        Unavailable: a port is taken, or a server ended by itself.
        NotFound: there is no champion to serve.
        KeyboardInterrupt: Ctrl-C or SIGTERM came before both servers were ready.
    """
    try:
        with interruptible():
            return _launch(data)
    except Interrupted:
        raise KeyboardInterrupt from None


def _launch(data: str | None) -> int:
    settings = read_settings()
    for name, port in (("HAKKA_PORT", settings.port), ("HAKKA_APP_PORT", settings.app_port)):
        _check_free(name, port)
    if settings.port == settings.app_port:
        raise Unavailable(f"HAKKA_PORT and HAKKA_APP_PORT must differ, both are {settings.port}")
    if data is not None:
        code = _run_pipeline(data)
        if code not in (0, 1):
            return code
        if code == 1 and champion(settings.registry) is None:
            print(f"nothing to serve yet: {NOTHING_PROMOTED}", file=sys.stderr)
            return code
    if champion(settings.registry) is None:
        raise NotFound(f"the registry {settings.registry} has no champion to serve: run the pipeline first (hakka run)")
    return _serve(settings)


def _run_pipeline(data: str) -> int:
    process = _start("pipelines", "run", "--data", data)
    try:
        return process.wait()
    except Interrupted:
        _stop([process])
        if process.returncode != INTERRUPTED:  # it was still being imported and has said nothing
            raise
        return INTERRUPTED


def _serve(settings: Settings) -> int:
    servers: dict[str, subprocess.Popen[bytes]] = {}
    is_ready = False
    try:
        servers["the endpoint"] = _start("serving", "--port", str(settings.port))
        # It would only say its address, which is said below together with the endpoint's.
        servers["the app"] = _start("app", "--port", str(settings.app_port), stdout=subprocess.DEVNULL)
        app_address = f"http://127.0.0.1:{settings.app_port}"
        _wait_ready(servers, "the endpoint", f"http://127.0.0.1:{settings.port}/v2/health/ready")
        _wait_ready(servers, "the app", f"{app_address}/_stcore/health")
        is_ready = True
        print(f"\nendpoint  http://127.0.0.1:{settings.port}\napp       {app_address}\nCtrl-C stops both.", flush=True)
        while True:
            _check_alive(servers)
            time.sleep(0.5)
    except Interrupted:
        if not is_ready:
            raise
        print("\nstopping", flush=True)
        return 0
    finally:
        _stop(list(servers.values()))


def _start(module: str, *arguments: str, stdout: int | None = None) -> "subprocess.Popen[bytes]":
    """``python -m module`` in a process group of its own, which the kernel ends when we are killed."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdout=stdout,
        start_new_session=True,
        preexec_fn=end_with_parent,
    )


def _stop(processes: "list[subprocess.Popen[bytes]]") -> None:
    """Ask all to end, wait, and end what is left of their process groups."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + STOP_WITHIN
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(deadline - time.monotonic(), 0.1))
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _check_free(name: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise Unavailable(
                f"port {port} must be free on 127.0.0.1 ({error.strerror}): stop what uses it, or set {name}"
            ) from None


def _wait_ready(servers: "dict[str, subprocess.Popen[bytes]]", name: str, address: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + READY_WITHIN
    while True:
        _check_alive(servers)
        try:
            with opener.open(address, timeout=2) as response:
                if response.status == 200:
                    return
        except OSError:
            if time.monotonic() > deadline:
                raise Unavailable(f"{name} must be ready within {READY_WITHIN:g} s at {address}, it is not") from None
        time.sleep(0.1)


def _check_alive(servers: "dict[str, subprocess.Popen[bytes]]") -> None:
    for name, process in servers.items():
        if (code := process.poll()) is not None:
            raise Unavailable(f"{name} ended by itself with exit code {code}")

"""``python -m app``: the app on its port until Ctrl-C."""

import argparse
import socket
import sys
import threading
import time
from pathlib import Path

from hakka.errors import HakkaError, Unavailable
from hakka.settings import read_settings
from hakka.signals import release_signals

HOME = Path(__file__).resolve().parent / "Home.py"


def main(arguments: list[str] | None = None) -> int:
    """Start Streamlit in this process and return its exit status.

    It is 2 when the port is taken or a setting is wrong, 130 for Ctrl-C before the app answered.
    """
    answers = threading.Event()
    try:
        release_signals()
        options = _parse(arguments)
        _check_free(options.host, options.port)
        threading.Thread(target=_announce, args=(options.host, options.port, answers), daemon=True).start()
        code = _run_streamlit(options.host, options.port)
    except HakkaError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        code = 0
    if code == 0 and not answers.is_set():
        print("app: stopped before it was ready", file=sys.stderr)
        return 130
    return code


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="hakka app",
        description="Serve the cook's page. HAKKA_ENDPOINT names the detector that it asks.",
        epilog="example: HAKKA_ENDPOINT=http://127.0.0.1:8080 hakka app --port 8501",
    )
    parser.add_argument("--port", type=int, default=read_settings().app_port, help="default: HAKKA_APP_PORT or 8501")
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s, this machine only")
    return parser.parse_args(arguments)


def _check_free(address: str, port: int) -> None:
    """Raise Unavailable unless the port can be bound; Streamlit itself would only log it."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except (OSError, OverflowError) as error:
            raise Unavailable(
                f"The app cannot listen on {address}:{port} ({error}): stop what uses it, or set HAKKA_APP_PORT."
            ) from None


def _announce(address: str, port: int, answers: threading.Event) -> None:
    """Print the address once something answers there; the main thread is the server by then."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - compared, not bound
    while True:
        try:
            socket.create_connection((reachable, port), timeout=1).close()
            break
        except OSError:
            time.sleep(0.1)
    answers.set()
    host = f"[{reachable}]" if ":" in reachable else reachable
    print(f"App at http://{host}:{port}", flush=True)


def _run_streamlit(address: str, port: int) -> int:
    import click
    from streamlit.web import cli

    flags = {"server.address": address, "server.port": str(port), "server.headless": "true"}
    flags |= {"browser.gatherUsageStats": "false", "logger.hideWelcomeMessage": "true", "logger.level": "warning"}
    words = ["run", str(HOME), *(f"--{name}={value}" for name, value in flags.items())]
    try:
        cli.main(words, standalone_mode=False)
    except click.exceptions.Abort:  # what click makes of a KeyboardInterrupt
        pass
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

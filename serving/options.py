"""The command line of ``python -m serving``."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hakka.settings import Settings


@dataclass(frozen=True)
class Options:
    """How to serve: ``model_dir`` wins over the registry's ``channel``; ``log`` None means no prediction log."""

    channel: str
    registry: Path
    model_dir: Path | None
    host: str
    port: int
    grpc_port: int | None
    log: Path | None
    max_body: int


def read_options(argv: Sequence[str], settings: Settings) -> Options:
    """The options of a command line; what it leaves out comes from the settings. A wrong one ends with exit code 2."""
    given = _parser(settings).parse_args(argv)
    return Options(
        channel=given.channel,
        registry=given.registry,
        model_dir=given.model_dir,
        host=given.host,
        port=given.port,
        grpc_port=given.grpc_port,
        log=None if given.no_log else given.log,
        max_body=given.max_body_mib * 1024 * 1024,
    )


def _parser(settings: Settings) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hakka serve",
        description="Serve a detector over KServe's v1 and Open Inference v2 protocols until Ctrl-C.",
        epilog="example: hakka serve --channel champion --port 8080",
        allow_abbrev=False,
    )
    parser.add_argument("--channel", default="champion", help="registry channel to follow (default: champion)")
    parser.add_argument("--registry", type=Path, default=settings.registry, metavar="DIR", help="model registry")
    parser.add_argument(
        "--model-dir",
        type=Path,
        metavar="DIR",
        help="serve this model folder, or what this link points to, without a registry",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine only)"
    )
    parser.add_argument(
        "--port", type=_port, default=settings.port, help=f"REST port, 0 for a free one (default: {settings.port})"
    )
    parser.add_argument("--grpc-port", type=_port, metavar="PORT", help="serve gRPC too, on this port (default: off)")
    parser.add_argument("--log", type=Path, default=settings.predictions, metavar="DIR", help="prediction log folder")
    parser.add_argument("--no-log", action="store_true", help="keep no prediction log")
    parser.add_argument(
        "--max-body-mib", type=_positive, default=32, metavar="N", help="largest request body in MiB (default: 32)"
    )
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"a port must be a whole number from 0 to 65535, got {text!r}")
    return int(text)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, got {text!r}")
    return int(text)

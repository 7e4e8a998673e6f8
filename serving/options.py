"""The command line of ``python -m serving``."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hakka.detector.decode import MAX_PIXELS
from hakka.detector.engine import ENGINES, PRECISIONS
from hakka.errors import InvalidInput
from hakka.objects import Place, read_place
from hakka.settings import Settings
from serving.fields import MAX_JSON

LOG_DAYS = 90
MOST_DAYS = 36_500
MOST_MEGAPIXELS = 178  # Pillow's own limit


@dataclass(frozen=True)
class Options:
    """How to serve: ``model_dir`` wins over the registry's ``channel``; ``log`` None means no prediction log.

    0 leaves the choice: ``threads`` to the CPU limit, ``queue`` to the number of workers, ``batch`` to what wins.
    """

    channel: str
    registry: Place
    model_dir: Path | None
    host: str
    port: int
    grpc_port: int | None
    log: Place | None
    log_days: int
    keep_images: float
    max_body: int
    max_json: int
    body_seconds: float
    max_connections: int
    queue: int
    engine: str
    precision: str
    threads: int
    batch: int
    allow_urls: tuple[str, ...]
    max_pixels: int


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
        log_days=given.log_days,
        keep_images=given.keep_images,
        max_body=given.max_body_mib * 1024 * 1024,
        max_json=given.max_json_mib * 1024 * 1024,
        body_seconds=given.body_seconds,
        max_connections=given.max_connections,
        queue=given.queue,
        engine=given.engine,
        precision=given.inference_precision,
        threads=given.threads,
        batch=given.batch,
        allow_urls=tuple(given.allow_url),
        max_pixels=given.max_megapixels * 1_000_000,
    )


def _parser(settings: Settings) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hakka serve",
        description="Serve a detector over KServe's v1 and Open Inference v2 protocols until Ctrl-C.",
        epilog="example: hakka serve --channel champion --port 8080",
        allow_abbrev=False,
    )
    parser.add_argument("--channel", default="champion", help="registry channel to follow (default: champion)")
    parser.add_argument("--registry", type=read_place, default=settings.registry, metavar="DIR", help="model registry")
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
    parser.add_argument(
        "--max-body-mib", type=_positive, default=32, metavar="N", help="largest request body in MiB (default: 32)"
    )
    parser.add_argument(
        "--max-json-mib",
        type=_positive,
        default=MAX_JSON // (1024 * 1024),
        metavar="N",
        help=f"longest JSON of a request in MiB, without base64 photos (default: {MAX_JSON // (1024 * 1024)})",
    )
    _add_log_options(parser, settings)
    _add_photo_options(parser)
    _add_load_options(parser)
    return parser


def _add_log_options(parser: argparse.ArgumentParser, settings: Settings) -> None:
    parser.add_argument(
        "--log",
        type=read_place,
        default=settings.predictions,
        metavar="DIR|URL",
        help="prediction log: a folder or s3://bucket/prefix (default: predictions in HAKKA_HOME)",
    )
    parser.add_argument("--no-log", action="store_true", help="keep no prediction log")
    parser.add_argument(
        "--log-days",
        type=_whole,
        default=LOG_DAYS,
        metavar="N",
        help=f"days to keep of the log, 0 for all (default: {LOG_DAYS})",
    )
    parser.add_argument(
        "--keep-images",
        type=_share,
        default=0.0,
        metavar="SHARE",
        help="share of photos to keep in the log, 0 to 1, as JPEG without the sender's metadata (default: 0, none)",
    )


def _add_photo_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-megapixels",
        type=_megapixels,
        default=MAX_PIXELS // 1_000_000,
        metavar="N",
        help=f"largest photo in million pixels (default: {MAX_PIXELS // 1_000_000})",
    )
    parser.add_argument(
        "--allow-url",
        type=_address,
        action="append",
        default=[],
        metavar="PREFIX",
        help="callers may name photos under this http(s) address instead of sending them; repeatable (default: off)",
    )


def _add_load_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--queue",
        type=_positive,
        default=0,
        metavar="N",
        help="photos that may wait for a worker; one more is answered 429 (default: a second's work)",
    )
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="what runs the model (default: auto, which is onnxruntime with a GPU, else openvino)",
    )
    parser.add_argument(
        "--inference-precision",
        choices=PRECISIONS,
        default="auto",
        help="of the numbers between layers: auto is bf16 on a CPU that is faster with it, where boxes differ by a "
        "fraction of a pixel, else f32 (default: auto)",
    )
    parser.add_argument(
        "--threads",
        type=_positive,
        default=0,
        metavar="N",
        help="cores for inference (default: the container's CPU limit)",
    )
    parser.add_argument(
        "--batch",
        type=_batch,
        default="auto",
        metavar="auto|off|N",
        help="photos in one inference: auto is 1 for a model that takes any shape, else measured at the start "
        "(default: auto)",
    )
    parser.add_argument(
        "--body-seconds",
        type=_positive,
        default=30,
        metavar="S",
        help="a request must be sent within this time, else 408 (default: 30)",
    )
    parser.add_argument(
        "--max-connections",
        type=_positive,
        default=1024,
        metavar="N",
        help="open connections a port; one more ends the one that has been idle or sending longest (default: 1024)",
    )


def _batch(text: str) -> int:
    words = {"auto": 0, "off": 1}
    return words[text] if text in words else _positive(text)


def _megapixels(text: str) -> int:
    number = _positive(text)
    if number > MOST_MEGAPIXELS:
        raise argparse.ArgumentTypeError(f"must be at most {MOST_MEGAPIXELS}, got {text!r}")
    return number


def _address(text: str) -> str:
    from serving.fetch import read_address

    try:
        read_address(text)
    except InvalidInput as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"a port must be a whole number from 0 to 65535, got {text!r}")
    return int(text)


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= MOST_DAYS):
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {MOST_DAYS}, got {text!r}")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"must be a share from 0 to 1, got {text!r}")
    return share


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, got {text!r}")
    return int(text)

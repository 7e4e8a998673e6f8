"""``hakka VERB``: one verb a command. Exit 0 done, 1 a check or the gate said no, 2 bad usage or bad input."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from hakka import __version__
from hakka.errors import HakkaError, InvalidInput
from hakka.texts import visible
from hakka.verbs import data, loop, models, runs, use, versions

EXAMPLE = "example: hakka run --data photos   (then: hakka up)"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and give its exit code; what goes wrong on purpose is one sentence on stderr."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for number in (signal.SIGTERM, signal.SIGHUP):  # both tidy up as Ctrl-C does
        signal.signal(number, signal.default_int_handler)
    try:
        if arguments and arguments[0] in loop.ELSEWHERE:
            return loop.hand_over(arguments[0], arguments[1:])
        options = build_parser().parse_args(arguments)
        code: int = options.run(options)
        if sys.stdout is not None:  # it may have been closed before we began
            sys.stdout.flush()
    except HakkaError as error:
        print("\n".join(map(visible, f"error: {error}".split("\n"))), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # no space, no right, a folder where a file should be …
        print(f"error: {error.filename or 'this machine'}: {error.strerror or error}", file=sys.stderr)
        return InvalidInput.exit_code
    return code


def build_parser() -> argparse.ArgumentParser:
    """The command line of every verb."""
    parser = argparse.ArgumentParser(
        prog="hakka",
        description="Food photos in, recipes out, and everything that keeps the detector good.",
        epilog=EXAMPLE,
    )
    parser.add_argument("--version", action="version", version=f"hakka {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for part in (data, versions, models, runs, loop, use):
        part.add_verbs(verbs)
    return parser

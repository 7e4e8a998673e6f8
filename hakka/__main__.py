"""``python -m hakka VERB``."""

import sys


def start() -> int:
    """Run the command line; Ctrl-C while it is still being imported ends it as later."""
    try:
        from hakka.cli import main

        return main()
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(start())

"""``python -m hakka VERB``."""

import sys


def start() -> int:
    """Run the command line; Ctrl-C while it is still being imported ends it as quietly as later."""
    try:
        from hakka.cli import main
    except KeyboardInterrupt:
        return 130
    return main()


if __name__ == "__main__":
    sys.exit(start())

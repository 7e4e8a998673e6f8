"""``python -m hakka VERB``."""

import sys

from hakka.cli import main

if __name__ == "__main__":
    sys.exit(main())

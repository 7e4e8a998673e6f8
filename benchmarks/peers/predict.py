"""ultralytics' own predict over files, a helper process: ``python -m benchmarks.peers.predict EXPORTED PHOTOS``.

A line of seconds gives photos a second and CPU ms a photo; a line ``null`` gives what is found on each photo.
``predict`` reads and decodes the files itself, the next one while OpenVINO works on the one before.
"""

import json
import sys
from itertools import count
from pathlib import Path

from benchmarks.peers.settings import SETTINGS, open_model
from benchmarks.processes import answer_lines, timed


def main(exported: Path, photos: Path) -> None:
    """Answer until the questions end."""
    model = open_model(exported)
    found = [json.loads(result.to_json()) for result in model.predict(photos, **SETTINGS)]
    # The folder again and again, and not a list of names, of which predict would make one batch.
    endless = (result for _ in count() for result in model.predict(photos, stream=True, **SETTINGS))

    def answer(seconds: float | None) -> object:
        return found if seconds is None else timed(lambda _: next(endless), seconds)

    answer_lines(answer)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

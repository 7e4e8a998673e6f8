"""Where the suite keeps what its options name, in pytest's configuration."""

from io import FileIO
from pathlib import Path

import pytest

from hakka.data.dataset import Dataset
from hakka.quality.answers import Answers

ANSWERS = pytest.StashKey[Answers]()
DATASET = pytest.StashKey[Dataset]()
ROOT = pytest.StashKey[Path]()
PLACE = pytest.StashKey[FileIO]()
COLLECTED = pytest.StashKey[list[pytest.Item]]()

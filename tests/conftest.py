"""How the tests share a machine: how many workers run them, what each has for itself, and which files come first."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hakka.cores import usable_cores

# Threads of torch that wait by spinning take the core of the other worker. It is read when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

MOST_WORKERS = 4  # each takes up to 2 GB of memory
ROOT = Path(__file__).resolve().parent
# The longest files, the longest first: one that started late would leave the other workers idle at the end.
LONGEST = (
    "test_default_run.py",
    "pipelines/test_pipelines_run.py",
    "detector/test_detector_training.py",
    "pipelines/test_pipelines_variants.py",
    "test_cli.py",
    "serving/test_serving_process.py",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """The workers of ``make test``."""
    return min(usable_cores(), MOST_WORKERS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Longest files first."""
    first = {ROOT / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(item.path, len(first)))


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that a test leaves to the default is written into the repository or seen by another worker."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HAKKA_HOME", str(tmp_path_factory.mktemp("home")))
        yield

"""What a check gets, Hakka's own and yours alike: the dataset, its images, its boxes, and the judge."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hakka.boxes import Array
from hakka.data.dataset import Dataset, content_digest
from hakka.data.scan import Scan, read_scans, scan_images
from hakka.errors import InvalidInput
from hakka.files import read_json, write_json
from hakka.quality.answers import Judge
from hakka.quality.likeness import Likeness, find_likeness
from hakka.quality.limits import Limits
from hakka.quality.profile import Profile, make_profile, read_profile
from hakka.quality.stash import ANSWERS, DATASET, ROOT


@pytest.fixture(scope="session")
def dataset(request: pytest.FixtureRequest) -> Dataset:
    """The dataset that is checked."""
    return request.config.stash[DATASET]


@pytest.fixture(scope="session")
def root(request: pytest.FixtureRequest) -> Path:
    """The folder that the dataset's images lie in."""
    return request.config.stash[ROOT]


@pytest.fixture(scope="session")
def limits(request: pytest.FixtureRequest) -> Limits:
    """Severities and thresholds."""
    return request.config.stash[ANSWERS].limits


@pytest.fixture
def judge(request: pytest.FixtureRequest) -> Judge:
    """Call it with a check's problems: an error-check with any fails here, a warning-check is reported."""
    return partial(request.config.stash[ANSWERS].judge, request.node)


@pytest.fixture(scope="session")
def scans(request: pytest.FixtureRequest, dataset: Dataset, root: Path) -> dict[str, Scan]:
    """One look at every image, by its name in the index."""
    names = [entry.image for entry in dataset.entries]
    known = request.config.getoption("--scans")
    if known is None:
        return scan_images(root, names)
    given = read_scans(known)
    missing = next((name for name in names if name not in given), None)
    if missing is not None:
        raise InvalidInput(f"{known}: must hold every image of the dataset, lacks {missing}")
    return {name: given[name] for name in names}


@pytest.fixture(scope="session")
def found_digest(dataset: Dataset) -> str:
    """The digest of what the dataset holds on the disk."""
    return content_digest(dataset)


@pytest.fixture(scope="session")
def source_report(dataset: Dataset) -> dict[str, Any]:
    """What ``convert`` said about the source; empty if the dataset came without."""
    path = dataset.path / "report.json"
    report = read_json(path) if path.is_file() else {}
    return report if isinstance(report, dict) else {}


@pytest.fixture(scope="session")
def labels(dataset: Dataset) -> dict[str, Array | str]:
    """(n, 5) labels of every image by its name, or the reason why they cannot be read."""
    read: dict[str, Array | str] = {}
    for entry in dataset.entries:
        try:
            read[entry.image] = dataset.labels(entry)
        except InvalidInput as error:
            read[entry.image] = str(error)
    return read


@pytest.fixture(scope="session")
def boxes(labels: dict[str, Array | str]) -> dict[str, Array]:
    """The labels that can be read, with whole class numbers that are in range or not."""
    return {image: value for image, value in labels.items() if not isinstance(value, str)}


@pytest.fixture(scope="session")
def class_counts(dataset: Dataset, boxes: dict[str, Array]) -> dict[str, Counter[str]]:
    """Boxes of each class, by split; boxes of an unknown class are another check's matter."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in dataset.entries:
        for label in _known_classes(boxes.get(entry.image), len(dataset.names)):
            found[entry.split][dataset.names[label]] += 1
    return found


def _known_classes(rows: Array | None, count: int) -> Iterable[int]:
    return (int(label) for label in rows[:, 0].tolist() if label in range(count)) if rows is not None else ()


@pytest.fixture(scope="session")
def likeness(dataset: Dataset, scans: dict[str, Scan], limits: Limits) -> Likeness:
    """For every image the most alike of the images before it, in its own split and in the others."""
    within, across = (int(limits.number(check, "bits")) for check in ("near_duplicates", "split_leakage"))
    return find_likeness(dataset, scans, within, across)


@pytest.fixture(scope="session")
def current_profile(dataset: Dataset, scans: dict[str, Scan], boxes: dict[str, Array]) -> Profile:
    """The distributions of this dataset."""
    return make_profile(dataset, scans, boxes)


@pytest.fixture(scope="session")
def previous_profile(request: pytest.FixtureRequest) -> Profile | None:
    """The distributions of the version that it is compared with, None without one."""
    against = request.config.getoption("--against")
    return None if against is None else read_profile(against)


@pytest.fixture(scope="session", autouse=True)
def keep_profile(request: pytest.FixtureRequest) -> None:
    """Write the profile where the option asks."""
    target = request.config.getoption("--profile")
    if target is not None:
        for name in ("found_digest", "class_counts"):  # while the scans may still be on their way
            request.getfixturevalue(name)
        write_json(target, request.getfixturevalue("current_profile"))

"""Options, fixtures and bookkeeping of the suite: what a check gets, and what becomes of its answer."""

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from hakka.boxes import Array
from hakka.data.dataset import Dataset, load_dataset
from hakka.data.scan import Scan, scan_images
from hakka.errors import HakkaError, InvalidInput
from hakka.files import read_json, write_json
from hakka.params import PARAMS_FILE
from hakka.quality.limits import Limits, read_limits

Problem = tuple[str | None, str]  # the image it is about, or None; the sentence
Judge = Callable[[Iterable[Problem]], None]

_CHECKS = pytest.StashKey[dict[str, dict[str, Any]]]()
_LIMITS = pytest.StashKey[Limits]()
_DATASET = pytest.StashKey[Dataset]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The suite's own options."""
    group = parser.getgroup("hakka")
    group.addoption("--dataset", type=Path, help="the converted dataset (folder) to check")
    group.addoption("--root", type=Path, help="the folder that its images lie in")
    group.addoption("--params", type=Path, default=PARAMS_FILE, help="params.yaml with the section quality")
    group.addoption("--answers", type=Path, help="write the checks' answers to this JSON file")
    group.addoption("--parent-pipe", type=int, help="file descriptor; when it closes, the suite ends")


def pytest_configure(config: pytest.Config) -> None:
    """Read what the options name, so that a bad one is a sentence and not thirty failures."""
    config.stash[_CHECKS] = {}
    pipe = config.getoption("--parent-pipe")
    if pipe is not None:
        threading.Thread(target=_end_with_parent, args=(pipe,), daemon=True).start()
    dataset, root = config.getoption("--dataset"), config.getoption("--root")
    if dataset is None or root is None:
        raise pytest.UsageError("hakka/quality needs --dataset=DATASET and --root=FOLDER (where its images lie)")
    try:
        config.stash[_DATASET] = load_dataset(dataset)
        config.stash[_LIMITS] = read_limits(config.getoption("--params"))
        if not root.is_dir():
            raise InvalidInput(f"{root}: the folder of the images does not exist")
    except HakkaError as error:
        raise pytest.UsageError(str(error)) from None


def _end_with_parent(pipe: int) -> None:
    os.read(pipe, 1)  # nobody writes: it returns when the last writer, the parent, is gone
    os._exit(3)


@pytest.fixture(scope="session")
def dataset(request: pytest.FixtureRequest) -> Dataset:
    """The dataset that is checked."""
    return request.config.stash[_DATASET]


@pytest.fixture(scope="session")
def root(request: pytest.FixtureRequest) -> Path:
    """The folder that the dataset's images lie in."""
    return Path(request.config.getoption("--root"))


@pytest.fixture(scope="session")
def limits(request: pytest.FixtureRequest) -> Limits:
    """Severities and thresholds."""
    return request.config.stash[_LIMITS]


@pytest.fixture(scope="session")
def scans(dataset: Dataset, root: Path) -> dict[str, Scan]:
    """One full decode of every image, by its name in the index."""
    return scan_images(root, [entry.image for entry in dataset.entries])


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


@pytest.fixture
def judge(request: pytest.FixtureRequest, limits: Limits) -> Judge:
    """Call it with a check's problems: an error-check with any fails here, a warning-check is reported."""
    check = _check_name(request.node)

    def decide(problems: Iterable[Problem]) -> None:
        severity = limits.severity(check)
        findings = [{"image": image, "reason": reason} for image, reason in problems]
        request.config.stash[_CHECKS][check] = _answer(request.node, severity, findings)
        if findings and severity == "error":
            rest = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
            pytest.fail(f"{findings[0]['reason']}{rest}", pytrace=False)

    return decide


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the checks whose severity is off."""
    limits = config.stash[_LIMITS]
    off = [item for item in items if limits.severity(_check_name(item)) == "off"]
    if off:
        config.hook.pytest_deselected(items=off)
        items[:] = [item for item in items if item not in off]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A check that failed without a judgement (a plain assert, an exception) counts as one finding."""
    report = yield
    checks, name = item.config.stash[_CHECKS], _check_name(item)
    if report.failed and name not in checks:
        last = str(call.excinfo.value).splitlines()[0] if call.excinfo and str(call.excinfo.value) else "failed"
        checks[name] = _answer(item, "error", [{"image": None, "reason": last}])
    elif report.when == "call" and name not in checks:
        checks[name] = _answer(item, item.config.stash[_LIMITS].severity(name), [])
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The warnings, which pytest itself counts as passed."""
    warned = [check for check in config.stash[_CHECKS].values() if check["severity"] == "warning" and check["findings"]]
    if warned:
        terminalreporter.section("data warnings")
    for check in warned:
        terminalreporter.write_line(
            f"{check['name']}: {len(check['findings'])}, first: {check['findings'][0]['reason']}"
        )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the answers for whoever started the suite."""
    target = session.config.getoption("--answers")
    if target is not None:
        write_json(target, list(session.config.stash[_CHECKS].values()))


def _check_name(item: pytest.Item) -> str:
    return item.name.removeprefix("test_")


def _answer(item: pytest.Item, severity: str, findings: list[dict[str, Any]]) -> dict[str, Any]:
    doc = getattr(getattr(item, "function", None), "__doc__", None) or ""
    about = doc.strip().partition("\n")[0]
    passed = not findings
    return {"name": _check_name(item), "about": about, "severity": severity, "passed": passed, "findings": findings}

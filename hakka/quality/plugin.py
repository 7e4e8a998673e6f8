"""The suite's options and bookkeeping: which checks run, and what becomes of their answers."""

import os
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from _pytest.outcomes import Failed

from hakka.data.dataset import load_dataset
from hakka.errors import HakkaError, InvalidInput
from hakka.files import write_json
from hakka.params import PARAMS_FILE
from hakka.quality.answers import Answers, SaidNo, add_findings, break_check, check_name, is_own, origin
from hakka.quality.fixtures import (  # noqa: F401  (fixtures are found here by name)
    boxes,
    class_counts,
    current_profile,
    dataset,
    found_digest,
    judge,
    keep_profile,
    labels,
    likeness,
    limits,
    previous_profile,
    root,
    scans,
    source_report,
)
from hakka.quality.guard import MAX_SECONDS, find_checks, limit_files, time_limit
from hakka.quality.limits import read_limits
from hakka.quality.stash import ANSWERS, COLLECTED, DATASET, PLACE, ROOT
from hakka.texts import visible


def pytest_addoption(parser: pytest.Parser) -> None:
    """The suite's own options."""
    group = parser.getgroup("hakka")
    group.addoption("--dataset", type=Path, help="the converted dataset (folder) to check")
    group.addoption("--root", type=Path, help="the folder of its images (default: the one it was converted from)")
    group.addoption("--params", type=Path, default=PARAMS_FILE, help="params.yaml with the section quality")
    group.addoption("--against", type=Path, help="profile.json, validation or dataset of the last accepted version")
    group.addoption("--scans", type=Path, help="what was seen on the images already (JSON lines)")
    group.addoption("--profile", type=Path, help="write the dataset's profile to this JSON file")
    group.addoption("--answers", type=Path, help="write the checks' answers to this JSON file")
    group.addoption("--check-seconds", type=float, default=MAX_SECONDS, help="time for one check of yours")
    group.addoption("--parent-pipe", type=int, help="file descriptor; when it closes, the suite ends")


def pytest_configure(config: pytest.Config) -> None:
    """Read what the options name, so that a bad one is a sentence and not thirty failures."""
    pipe = config.getoption("--parent-pipe")
    if pipe is not None:
        threading.Thread(target=_end_with_parent, args=(pipe,), daemon=True).start()
        limit_files()
    folder, images = config.getoption("--dataset"), config.getoption("--root")
    if folder is None:
        raise pytest.UsageError("hakka/quality needs --dataset=DATASET")
    try:
        config.stash[DATASET] = load_dataset(folder)
        config.stash[ROOT] = config.stash[DATASET].root if images is None else images
        users = [path for path in (Path(arg.partition("::")[0]) for arg in config.args) if not is_own(path)]
        config.stash[ANSWERS] = Answers(read_limits(config.getoption("--params"), find_checks(users)))
        if not config.stash[ROOT].is_dir():
            raise InvalidInput(f"{config.stash[ROOT]}: the folder of the images does not exist")
    except HakkaError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[COLLECTED] = []
    answers = config.getoption("--answers")
    if answers is not None:
        config.stash[PLACE] = answers.with_suffix(".place").open("wb", buffering=0)  # one that is opened anew is slow


def _end_with_parent(pipe: int) -> None:
    os.read(pipe, 1)  # nobody writes: it returns when the last writer, the parent, is gone
    os._exit(3)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    """A file of the user's that cannot be loaded, or holds no check, is one finding."""
    if not isinstance(collector, pytest.Module) or is_own(collector.path):
        return (yield)
    _note_place(collector.config, origin(collector.path))
    try:
        with time_limit(collector.config.getoption("--check-seconds")):
            report = yield
    except SystemExit as error:
        report = pytest.CollectReport(collector.nodeid, "failed", f"SystemExit: {error.code}", [])
    problem = None
    if report.outcome == "failed":
        problem = f"{collector.path.name} cannot be loaded: {_last_line(str(report.longrepr))}"
    elif report.outcome == "passed" and not report.result:
        problem = f"{collector.path.name} holds no check: their names begin with test_"
    if problem is not None:
        break_check(collector.config.stash[ANSWERS].of_file(collector.path), problem)
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the checks whose severity is off; the user's come last, when all images have been seen."""
    severity = config.stash[ANSWERS].limits.severity
    off = [item for item in items if severity(check_name(item)) == "off"]
    if off:
        config.hook.pytest_deselected(items=off)
    items[:] = sorted((item for item in items if item not in off), key=lambda item: not is_own(item.path))
    config.stash[COLLECTED] = list(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """The user's own fixtures have as long as a check."""
    _note_place(item.config, f"{origin(item.path) or item.path.name}::{item.name}")
    yield from _in_time(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """A check of the user's has its time."""
    yield from _in_time(item)


def _in_time(item: pytest.Item) -> Generator[None, None, None]:
    if is_own(item.path):
        yield
        return
    with time_limit(item.config.getoption("--check-seconds")):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Whatever a check did, it has an answer: it said no, an assertion is a finding, any other exception broke it."""
    report = yield
    record = item.config.stash[ANSWERS].of(item) if report.failed or report.skipped or report.when == "call" else {}
    error = call.excinfo.value if call.excinfo is not None else None
    if report.skipped:
        record |= {"skipped": True, "note": f"skipped: {_sentence(error)}"}
    elif report.failed and isinstance(error, AssertionError | Failed):
        add_findings(record, [] if isinstance(error, SaidNo) else [(None, _sentence(error))])
        if record["severity"] == "warning":
            report.outcome, report.longrepr = "passed", None
    elif report.failed:
        unknown = getattr(report.longrepr, "errorstring", "").partition("\n")[0]  # the name of a fixture
        break_check(record, f"the check broke: {unknown or f'{type(error).__name__}: {_sentence(error)}'}")
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The warnings, which pytest itself counts as passed, and what checks noted."""
    records = config.stash[ANSWERS].records.values()
    warned = [record for record in records if record["severity"] == "warning" and record["findings"]]
    if warned:
        terminalreporter.section("data warnings")
    for record in warned:
        first = record["findings"][0]["reason"]
        terminalreporter.write_line(f"{record['name']}: {len(record['findings'])}, first: {visible(first)}")
    for record in records:
        if record["note"]:
            terminalreporter.write_line(f"{record['name']}: {visible(record['note'])}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the answers for whoever started the suite; a check that has none was not run, and that is a finding."""
    answers = session.config.stash[ANSWERS]
    for item in session.config.stash[COLLECTED]:
        if item.nodeid not in answers.records:
            break_check(answers.of(item), "the check was not run: another one ended the suite")
    target = session.config.getoption("--answers")
    if target is not None:
        write_json(target, list(answers.records.values()))


def _note_place(config: pytest.Config, place: str) -> None:
    """Leave a note of what runs, for the case that it ends this process."""
    if PLACE in config.stash:
        config.stash[PLACE].seek(0)
        config.stash[PLACE].write(place.encode(errors="backslashreplace"))
        config.stash[PLACE].truncate()


def _sentence(error: BaseException | None) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] if error is not None else []
    return lines[0][:500] if lines else type(error).__name__


def _last_line(text: str) -> str:
    lines = [line.removeprefix("E").strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "no reason given"

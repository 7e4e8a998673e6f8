"""Validate: run the suite on a dataset in a process of its own and write what it said."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from hakka.data.dataset import Dataset, load_dataset
from hakka.data.scan import Scan, iter_scans, scan_line
from hakka.errors import HakkaError, InvalidInput, Unavailable
from hakka.files import read_json, write_json, write_whole
from hakka.params import PARAMS_FILE
from hakka.quality.guard import find_checks
from hakka.quality.limits import read_limits
from hakka.quality.profile import PROFILE, read_profile
from hakka.quality.report import render_report
from hakka.quality.suite import Suite

SUITE = Path(__file__).resolve().parent
_FULL = 1 << 20  # bytes that are left on a disk on which a write fails


def validate(
    dataset: Path,
    root: Path | None,
    out: Path,
    *,
    params_file: Path = PARAMS_FILE,
    checks: Path | None = None,
    against: Path | None = None,
    scans: Mapping[str, Scan] | None = None,
    suite: Suite | None = None,
) -> dict[str, Any]:
    """Check the dataset against its images; write report.json, report.html, junit.xml and profile.json to ``out``.

    ``root`` is the folder of the images, by default the one that the dataset was converted from. ``checks`` is a folder
    of the user's own checks (files ``test_*.py``), by default ``checks`` beside the params file where there is one.
    ``against`` is what the dataset is compared with: a profile.json, the folder of a validation or of a dataset.
    ``scans`` are looks at the images that were taken already; without them every image is decoded. ``suite`` is one
    that was started beforehand to save its time to load; it is used up.

    Returns the content of report.json: ``passed`` (no check of severity error found anything), the number of ``errors``
    and ``warnings`` (checks, not findings), and ``checks`` with name, about, severity, origin (the user's file, or
    empty), passed, skipped (it did not run; ``note`` says why), note and findings of each.

    Raises:
        InvalidInput: ``dataset`` is no dataset, a folder is missing, an image has no scan, the params file is wrong, or
            ``out`` is a folder of something else.
        Unavailable: ``out`` cannot be written, or its disk is full.
        HakkaError: the suite itself broke.
    """
    dataset, out, params_file = Path(dataset), Path(out).absolute(), Path(params_file)  # it runs in another folder
    with suite or Suite() as suite:
        loaded = load_dataset(dataset)
        root = loaded.root if root is None else Path(root)
        if not root.is_dir():
            raise InvalidInput(f"{root}: the folder of the images does not exist")
        if checks is None and (params_file.parent / "checks").is_dir():
            checks = params_file.parent / "checks"
        read_limits(params_file, find_checks([] if checks is None else [checks]))
        if against is not None:
            read_profile(against)
        if out.is_dir() and any(out.iterdir()) and not (out / PROFILE).is_file():
            raise InvalidInput(f"{out}: will not write into a folder that is not a validation of Hakka's")
        looks = _look(loaded, root) if scans is None else _hand_over(loaded, scans)
        options = {"dataset": dataset, "root": root, "params": params_file, "against": against}
        try:
            out.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=out, prefix=".validate-") as name:
                scratch = Path(name)
                report = _summarise(_run_suite(suite, options, scratch, checks, looks))
                for file in ("junit.xml", PROFILE):
                    os.replace(scratch / file, out / file)
            write_json(out / "report.json", report)
            write_whole(out / "report.html", render_report(report, loaded, root))
        except OSError as error:
            raise Unavailable(f"{out}: the validation report cannot be written: {error.strerror or error}") from None
    return report


def _look(dataset: Dataset, root: Path) -> Iterator[bytes]:
    """The lines of the scans, each as soon as it is there."""
    with closing(iter_scans(root, (entry.image for entry in dataset.entries))) as scans:
        yield from map(scan_line, scans)


def _hand_over(dataset: Dataset, scans: Mapping[str, Scan]) -> Iterator[bytes]:
    missing = next((entry.image for entry in dataset.entries if entry.image not in scans), None)
    if missing is not None:
        raise InvalidInput(f"{missing}: the scans must cover every image of {dataset.path}, this one is not among them")
    return (scan_line(scans[entry.image]) for entry in dataset.entries)


def _run_suite(
    suite: Suite, options: Mapping[str, Path | None], scratch: Path, checks: Path | None, looks: Iterator[bytes]
) -> list[dict[str, Any]]:
    answers = scratch / "answers.json"
    arguments = [*_isolation(scratch, checks), f"--scans={suite.looks}"]
    arguments += [f"--{name}={path.resolve()}" for name, path in options.items() if path is not None]
    arguments += [f"--answers={answers}", f"--profile={scratch / PROFILE}", f"--junitxml={scratch / 'junit.xml'}"]
    suite.begin(scratch, [*arguments, str(SUITE), *([] if checks is None else [str(checks.resolve())])])
    suite.send(looks)
    code = suite.wait()
    if code not in (0, 1) or not answers.is_file() or not (scratch / PROFILE).is_file():
        place = scratch / "answers.place"
        if shutil.disk_usage(scratch).free < _FULL:
            raise Unavailable(f"{scratch.parent}: the validation needs room, and the disk is full")
        where = f" in {place.read_text()}" if place.is_file() else ""
        words = suite.last_words()
        raise HakkaError(f"the data checks broke{where} (exit code {code})" + (f": {words[:500]}" if words else ""))
    found: list[dict[str, Any]] = read_json(answers)
    return found


def _isolation(scratch: Path, checks: Path | None) -> list[str]:
    """Options that keep foreign configuration, conftest files and caches out."""
    config = scratch / "pytest.ini"
    config.write_text("[pytest]\n")
    own = SUITE if checks is None else checks.resolve()  # conftest files above it are somebody else's
    options = ["-q", "-c", str(config), f"--rootdir={scratch}", f"--confcutdir={own}", "--import-mode=importlib"]
    options += ["--continue-on-collection-errors", "--tb=line", "--show-capture=no", "-W", "ignore"]
    for name in ("cacheprovider", "doctest", "stepwise", "pastebin", "faulthandler", "unraisableexception"):
        options += ["-p", f"no:{name}"]
    return options


def _summarise(checks: list[dict[str, Any]]) -> dict[str, Any]:
    failed = [check["severity"] for check in checks if not check["passed"]]
    errors, warnings = failed.count("error"), failed.count("warning")
    return {"passed": errors == 0, "errors": errors, "warnings": warnings, "checks": checks}

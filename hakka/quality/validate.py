"""Validate: run the suite on a dataset in a process of its own and write what it said."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hakka.data.dataset import Dataset, load_dataset
from hakka.data.scan import Scan, write_scans
from hakka.errors import HakkaError, InvalidInput, Unavailable
from hakka.files import read_json, write_json, write_whole
from hakka.params import PARAMS_FILE
from hakka.quality.guard import find_checks
from hakka.quality.limits import read_limits
from hakka.quality.profile import PROFILE, read_profile
from hakka.quality.report import render_report

SUITE = Path(__file__).resolve().parent


def validate(
    dataset: Path,
    root: Path | None,
    out: Path,
    *,
    params_file: Path = PARAMS_FILE,
    checks: Path | None = None,
    against: Path | None = None,
    scans: Mapping[str, Scan] | None = None,
) -> dict[str, Any]:
    """Check the dataset against its images; write report.json, report.html, junit.xml and profile.json to ``out``.

    ``root`` is the folder of the images, by default the one that the dataset was converted from. ``checks`` is a folder
    of the user's own checks (files ``test_*.py``), by default ``checks`` beside the params file where there is one.
    ``against`` is what the dataset is compared with: a profile.json, the folder of a validation or of a dataset.
    ``scans`` are looks at the images that were taken already; without them every image is decoded.

    Returns the content of report.json: ``passed`` (no check of severity error found anything), the number of ``errors``
    and ``warnings`` (checks, not findings), and ``checks`` with name, about, severity, origin (the user's file, or
    empty), passed, note and findings of each.

    Raises:
        InvalidInput: ``dataset`` is no dataset, a folder is missing, an image has no scan, the params file is wrong, or
            ``out`` is a folder of something else.
        Unavailable: ``out`` cannot be written.
        HakkaError: the suite itself broke.
    """
    dataset, out, params_file = Path(dataset), Path(out).absolute(), Path(params_file)  # it runs in another folder
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
    options = {"dataset": dataset, "root": root, "params": params_file, "against": against}
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out, prefix=".validate-") as name:
            scratch = Path(name)
            if scans is not None:
                options["scans"] = _hand_over(loaded, scans, scratch / "scans.jsonl")
            report = _summarise(_run_suite(options, scratch, checks))
            for file in ("junit.xml", PROFILE):
                write_whole(out / file, (scratch / file).read_bytes())
        write_json(out / "report.json", report)
        write_whole(out / "report.html", render_report(report, loaded, root))
    except OSError as error:
        raise Unavailable(f"{out}: the validation report cannot be written: {error.strerror or error}") from None
    return report


def _hand_over(dataset: Dataset, scans: Mapping[str, Scan], path: Path) -> Path:
    missing = next((entry.image for entry in dataset.entries if entry.image not in scans), None)
    if missing is not None:
        raise InvalidInput(f"{missing}: the scans must cover every image of {dataset.path}, this one is not among them")
    write_scans(path, (scans[entry.image] for entry in dataset.entries))
    return path


def _run_suite(options: Mapping[str, Path | None], scratch: Path, checks: Path | None) -> list[dict[str, Any]]:
    answers = scratch / "answers.json"
    read_end, write_end = os.pipe()  # closes when this process ends in whatever way, and takes the suite with it
    command = [sys.executable, "-m", "pytest", *_isolation(scratch, checks), f"--parent-pipe={read_end}"]
    command += [f"--{name}={path.resolve()}" for name, path in options.items() if path is not None]
    command += [f"--answers={answers}", f"--profile={scratch / PROFILE}", f"--junitxml={scratch / 'junit.xml'}"]
    command += [str(SUITE), *([] if checks is None else [str(checks.resolve())])]
    try:
        with (scratch / "output.txt").open("wb") as output:
            done = subprocess.run(
                command,
                cwd=scratch,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                pass_fds=(read_end,),
            )
    finally:
        os.close(write_end)
        os.close(read_end)
    if done.returncode not in (0, 1) or not answers.is_file() or not (scratch / PROFILE).is_file():
        raise HakkaError(_say_how_it_broke(done.returncode, scratch))
    found: list[dict[str, Any]] = read_json(answers)
    return found


def _say_how_it_broke(code: int, scratch: Path) -> str:
    with (scratch / "output.txt").open("rb") as file:
        file.seek(max(0, (scratch / "output.txt").stat().st_size - 10_000))
        lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip(" .")]
    place = scratch / "answers.place"
    where = f" in {place.read_text()}" if place.is_file() else ""
    return f"the data checks broke{where} (exit code {code})" + (f": {lines[-1][:500]}" if lines else "")


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


def _environment() -> dict[str, str]:
    """This process's environment without what would change pytest, and with the ``hakka`` that runs now in front."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "COV_"))}
    paths = [str(SUITE.parent.parent), environ.get("PYTHONPATH", "")]
    environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    environ["PYTHONDONTWRITEBYTECODE"] = "1"
    return environ


def _summarise(checks: list[dict[str, Any]]) -> dict[str, Any]:
    failed = [check["severity"] for check in checks if not check["passed"]]
    errors, warnings = failed.count("error"), failed.count("warning")
    return {"passed": errors == 0, "errors": errors, "warnings": warnings, "checks": checks}

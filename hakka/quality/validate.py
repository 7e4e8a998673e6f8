"""Validate: run the suite on a dataset in a process of its own and write what it said."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hakka.data.dataset import load_dataset
from hakka.data.page import heading, page, paragraph, table
from hakka.errors import HakkaError, InvalidInput, Unavailable
from hakka.files import read_json, write_json, write_whole
from hakka.params import PARAMS_FILE
from hakka.quality.limits import read_limits

SUITE = Path(__file__).resolve().parent


def validate(dataset: Path, root: Path, out: Path, *, params_file: Path = PARAMS_FILE) -> dict[str, Any]:
    """Check the dataset against the images in ``root``; write report.json, report.html and junit.xml to ``out``.

    Returns the content of report.json: ``passed`` (no check of severity error found anything), the number of ``errors``
    and ``warnings`` (checks, not findings), and ``checks`` with name, about, severity, passed and findings of each.

    Raises:
        InvalidInput: ``dataset`` is no dataset, ``root`` no folder, or the params file is wrong.
        Unavailable: ``out`` cannot be written.
        HakkaError: the suite itself broke.
    """
    dataset, root, out = Path(dataset), Path(root), Path(out).absolute()  # the suite runs in another folder
    load_dataset(dataset)
    read_limits(params_file)
    if not root.is_dir():
        raise InvalidInput(f"{root}: the folder of the images does not exist")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out, prefix=".validate-") as scratch:
            checks = _run_suite(dataset, root, Path(scratch), params_file)
            write_whole(out / "junit.xml", (Path(scratch) / "junit.xml").read_bytes())
        report = _summarise(checks)
        write_json(out / "report.json", report)
        write_whole(out / "report.html", render_report(report))
    except OSError as error:
        raise Unavailable(f"{out}: the validation report cannot be written: {error.strerror or error}") from None
    return report


def render_report(report: dict[str, Any]) -> str:
    """``report.html`` of a validation."""
    verdict = "Passed" if report["passed"] else "Failed"
    kind = "ok" if report["passed"] else "error"
    summary = f"{verdict}: {len(report['checks'])} checks, {report['errors']} errors, {report['warnings']} warnings."
    rows = [
        ["ok" if check["passed"] else check["severity"], check["name"], check["about"], len(check["findings"])]
        for check in report["checks"]
    ]
    body = [paragraph(summary, kind), table(["", "check", "what must be true", "findings"], rows)]
    for check in report["checks"]:
        if not check["passed"]:
            body.append(heading(f"{check['severity']}: {check['name']}"))
            body.append(table(["image", "finding"], [[item["image"], item["reason"]] for item in check["findings"]]))
    return page("Hakka: data quality", body)


def _run_suite(dataset: Path, root: Path, scratch: Path, params_file: Path) -> list[dict[str, Any]]:
    answers = scratch / "answers.json"
    read_end, write_end = os.pipe()  # closes when this process ends in whatever way, and takes the suite with it
    command = [sys.executable, "-m", "pytest", *_isolation(scratch), f"--parent-pipe={read_end}"]
    command += [f"--dataset={dataset.resolve()}", f"--root={root.resolve()}", f"--params={params_file.resolve()}"]
    command += [f"--answers={answers}", f"--junitxml={scratch / 'junit.xml'}", str(SUITE)]
    try:
        done = subprocess.run(
            command, cwd=scratch, env=_environment(), capture_output=True, text=True, check=False, pass_fds=(read_end,)
        )
    finally:
        os.close(write_end)
        os.close(read_end)
    if done.returncode not in (0, 1) or not answers.is_file():
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise HakkaError(
            f"the data checks broke (pytest exit code {done.returncode}): {lines[-1] if lines else 'no output'}"
        )
    checks: list[dict[str, Any]] = read_json(answers)
    return checks


def _isolation(scratch: Path) -> list[str]:
    """Options that keep foreign configuration, conftest files and caches out."""
    config = scratch / "pytest.ini"
    config.write_text("[pytest]\n")
    options = ["-q", "-c", str(config), f"--rootdir={scratch}", f"--confcutdir={SUITE}", "--import-mode=importlib"]
    return [*options, "-p", "no:cacheprovider", "-W", "ignore"]


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

"""docs/checks.md: its check runs with its entry of params.yaml, and every example gives something."""

import re
from pathlib import Path

from quality_photos import failed

from hakka.quality import fixtures
from hakka.quality.validate import validate

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "checks.md").read_text()


def block(language: str) -> str:
    return re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[1]


def examples():
    """What the page lists: each fixture and a line of code."""
    return re.findall(r"^\| `(\w+)` \| .* \| `(.+)` \|$", PAGE, re.MULTILINE)


def test_the_page_lists_every_fixture_that_a_check_may_ask_for():
    defined = {name for name, value in vars(fixtures).items() if isinstance(value, type(fixtures.dataset))}
    assert set(dict(examples())) == defined - {"keep_profile"}, "that one is asked for by the suite itself"


def test_what_the_page_shows_runs(dataset, tmp_path):
    checks = f"def test_examples({', '.join(dict(examples()))}):\n    entry = dataset.entries[0]\n"
    checks += "".join(f"    {code}\n" for _, code in examples())
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "test_page.py").write_text(block("python") + "\n\n" + checks)
    params = block("yaml").replace("min_brightness: 30", "min_brightness: 256")
    (tmp_path / "params.yaml").write_text(params + "  examples: {severity: warning}\n")
    report = validate(dataset.path, None, tmp_path / "out", params_file=tmp_path / "params.yaml")
    assert report["passed"]
    said = failed(report, "warning")
    assert "the mean grey value must be ≥ 256, got" in said["bright_enough"]
    assert said["examples"] == "too few photos", "the example of the judge, after all the others"

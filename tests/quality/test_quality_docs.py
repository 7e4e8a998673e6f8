"""docs/checks.md: its check runs with its entry of params.yaml, and every example gives something."""

import re
from pathlib import Path

from quality_photos import failed

from hakka.quality.validate import validate

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "checks.md").read_text()


def block(language: str) -> str:
    return re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[1]


def test_what_the_page_shows_runs(dataset, tmp_path):
    rows = re.findall(r"^\| `(\w+)` \| .* \| `(.+)` \|$", PAGE, re.MULTILINE)
    assert len(rows) == 10
    names = ", ".join(name for name, _ in rows)
    examples = f"def test_examples({names}):\n    entry = dataset.entries[0]\n"
    examples += "".join(f"    {code}\n" for name, code in rows if name != "judge")
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "test_page.py").write_text(block("python") + "\n\n" + examples)
    (tmp_path / "params.yaml").write_text(block("yaml").replace("min_brightness: 30", "min_brightness: 256"))
    report = validate(dataset.path, None, tmp_path / "out", params_file=tmp_path / "params.yaml")
    assert report["passed"]
    assert "the mean grey value must be ≥ 256, got" in failed(report, "warning")["bright_enough"]
    assert "examples" in {check["name"] for check in report["checks"] if check["passed"]}

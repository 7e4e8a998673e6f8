"""The figures of the default run in docs/benchmarks.md: ``python benchmarks/default_run.py [DATA]``.

Runs the pipeline twice in a fresh HAKKA_HOME, on DATA (default: sample), and prints what a person waits for and gets.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Measure and print."""
    data = str(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "sample").absolute())
    with tempfile.TemporaryDirectory() as home:
        first, first_seconds = run(data, home)
        steps = json.loads((Path(first["paths"]["run"]) / "run.json").read_text())["steps"]
        _, second_seconds = run(data, home)
    print(f"first run   {first_seconds:7.1f} s")
    for step in sorted(steps, key=lambda step: -step["seconds"])[:5]:
        print(f"  {step['name']:<10}{step['seconds']:6.1f} s")
    print(f"second run  {second_seconds:7.1f} s")
    metrics = first["metrics"]
    print(f"mAP50 {metrics['map50']:.3f}, mAP50-95 {metrics['map50_95']:.3f} on {metrics['images']} test images")
    print(f"gate: {first['decision']}, {first['reason']}")
    return 0


def run(data: str, home: str) -> tuple[dict, float]:
    """One run of the pipeline: what it answers, and how long it took in seconds."""
    command = [sys.executable, "-m", "hakka", "run", "--data", data, "--json"]
    began = time.perf_counter()
    environment = {**os.environ, "HAKKA_HOME": home}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1]), time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())

"""ultralytics beside this torch: it works, it is quiet, and a pair that matches is left alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]


def _python(code, **environ):
    environ = {**os.environ, **environ}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, env=environ, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_ultralytics_can_validate_here(tmp_path):
    """Its validator imports torchvision and calls nms: two overlapping boxes become one."""
    code = """
import sys
from pathlib import Path
from hakka.detector.torch_compat import load_ultralytics
load_ultralytics(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("%s"))
import torch, torchvision
from ultralytics.models.yolo.detect import DetectionValidator
boxes = torch.tensor([[0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30.0]])
print(torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist())
""" % (tmp_path / "config")
    assert _python(code) == "[0, 2]"


def test_nothing_is_done_twice_or_without_need():
    code = """
from hakka.detector.torch_compat import repair_torchvision
import torch
first = repair_torchvision()
import torchvision
print(first == (torch.version.cuda is None and "+cu" in torchvision.__version__), repair_torchvision())
"""
    assert _python(code) == "True False"


@pytest.mark.parametrize(
    ("version", "cuda", "repaired"),
    [
        ("0.28.0+cu130", None, True),
        ("0.28.0+cpu", None, False),
        ("0.28.0", None, False),
        ("0.28.0+cu130", "13.0", False),
    ],
)
def test_only_a_cuda_torchvision_beside_a_cpu_torch_is_repaired(tmp_path, version, cuda, repaired):
    """Against an installed-looking torchvision of each build, in a fresh interpreter."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "extension.py").write_text("def _has_ops():\n    return False\n")
    (package / "version.py").write_text(f"__version__ = '{version}'\n")
    info = tmp_path / "torchvision-0.28.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n")
    (info / "RECORD").write_text("torchvision/__init__.py,,\ntorchvision/extension.py,,\ntorchvision/version.py,,\n")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import torch
torch.version.cuda = {cuda!r}
from hakka.detector.torch_compat import repair_torchvision
print(repair_torchvision())
"""
    assert _python(code) == str(repaired)


def test_every_integration_and_telemetry_of_ultralytics_is_off(tmp_path):
    code = f"""
from pathlib import Path
from hakka.detector.torch_compat import load_ultralytics
u = load_ultralytics(Path({str(tmp_path)!r}))
from ultralytics.utils.events import events
print(u.settings["sync"], u.settings["clearml"], u.settings["dvc"], u.settings["mlflow"], events.enabled)
"""
    assert _python(code) == "False False False False False"

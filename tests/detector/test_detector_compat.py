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


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What a process says that has loaded ultralytics: boxes after nms, what is switched on, what is no image."""
    code = f"""
import io
from pathlib import Path
from PIL import Image
from hakka.detector.torch_compat import load_ultralytics
u = load_ultralytics(Path({str(tmp_path_factory.mktemp("config"))!r}))
import torch, torchvision
from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.utils.events import events
boxes = torch.tensor([[0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30.0]])
print(torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist())
print(u.settings["sync"], u.settings["clearml"], u.settings["dvc"], u.settings["mlflow"], events.enabled)
try:
    Image.open(io.BytesIO(b"no image"))
except Exception as error:
    print(type(error).__name__)
"""
    return _python(code).splitlines()


def test_ultralytics_can_validate_here(said):
    """Its validator imports torchvision and calls nms: two overlapping boxes become one."""
    assert said[0] == "[0, 2]"


def test_every_integration_and_telemetry_of_ultralytics_is_off(said):
    assert said[1] == "False False False False False"


def test_what_is_no_image_is_still_said_to_be_none(said):
    assert said[2] == "UnidentifiedImageError"


def test_nothing_is_done_twice_or_without_need():
    code = """
from hakka.detector.torch_compat import repair_torchvision
import torch
first = repair_torchvision()
import torchvision
print(first == (torch.version.cuda is None and "+cu" in torchvision.__version__), repair_torchvision())
"""
    assert _python(code) == "True False"


BUILDS = [
    ("0.28.0+cu130", None, True),
    ("0.28.0+cpu", None, False),
    ("0.28.0", None, False),
    ("0.28.0+cu130", "13.0", False),
]


def _install(folder, version):
    """An installed-looking torchvision."""
    package, info = folder / "torchvision", folder / "torchvision-0.28.0.dist-info"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "extension.py").write_text("def _has_ops():\n    return False\n")
    (package / "version.py").write_text(f"__version__ = '{version}'\n")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n")
    (info / "RECORD").write_text("torchvision/__init__.py,,\ntorchvision/extension.py,,\ntorchvision/version.py,,\n")
    return str(folder)


def test_only_a_cuda_torchvision_beside_a_cpu_torch_is_repaired(tmp_path):
    """Each pair in a process that has loaded torch, which takes seconds, and nothing of torchvision."""
    pairs = [(_install(tmp_path / str(n), version), cuda) for n, (version, cuda, _) in enumerate(BUILDS)]
    code = f"""
import os, sys, torch
from hakka.detector.torch_compat import repair_torchvision
for folder, cuda in {pairs!r}:
    if os.fork() == 0:
        sys.path.insert(0, folder)
        torch.version.cuda = cuda
        print(repair_torchvision(), flush=True)
        os._exit(0)
    os.wait()
"""
    assert _python(code).splitlines() == [str(repaired) for _, _, repaired in BUILDS]

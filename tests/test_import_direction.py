"""The arrows of the house: who may import whom, who owns which heavy library, and when it is loaded."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ARROWS = {
    "hakka": {"hakka"},
    "components": {"components", "hakka"},
    "pipelines": {"pipelines", "components", "hakka"},
    "serving": {"serving", "hakka"},
    "app": {"app", "hakka"},
}
DETECTOR = tuple(
    f"hakka/detector/{name}.py"
    for name in (
        "train",
        "trainer",
        "parallel",
        "progress",
        "snapshots",
        "evaluate",
        "export",
        "checkpoint",
        "weights",
        "torch_compat",
    )
)
OWNERS = {
    "torch": DETECTOR,
    "torchvision": DETECTOR,
    "ultralytics": DETECTOR,
    "onnx": ("hakka/detector/export.py",),
    "nncf": ("hakka/detector/quantize.py",),
    "openvino": ("hakka/detector/engine.py",),
    "onnxruntime": ("hakka/detector/engine.py",),
    "clearml": ("hakka/tracking.py",),
    "optuna": ("hakka/detector/search.py",),
    "evidently": ("hakka/monitor/drift.py",),
    "kubernetes": ("hakka/deploy/",),
    "dvc": ("hakka/data/dvc.py",),
    "kfp": ("components/", "pipelines/"),
    "kfp_server_api": ("pipelines/",),
    "kserve": ("serving/",),
    "streamlit": ("app/",),
}
FILES = sorted(path for package in ARROWS for path in (ROOT / package).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Top-level package names that a piece of code imports, also by ``import_module("…")``, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0], node.lineno
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (
                (arg.value.split(".")[0], node.lineno)
                for arg in node.args[:1]
                if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
            )


def test_packages_import_only_along_the_arrows():
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in FILES
        for name, line in imported(ast.parse(path.read_text()))
        if name in ARROWS and name not in ARROWS[path.relative_to(ROOT).parts[0]]
    ]
    assert not wrong


def test_heavy_libraries_have_one_owner():
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in FILES
        for name, line in imported(ast.parse(path.read_text()))
        if name in OWNERS and not str(path.relative_to(ROOT)).startswith(OWNERS[name])
    ]
    assert not wrong


def test_the_code_of_every_package_was_looked_at():
    for package in ARROWS:
        assert any(path.is_relative_to(ROOT / package) for path in FILES), package


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("import torch.nn as nn", ["torch"]),
        ("def f():\n    from ultralytics.nn import tasks", ["ultralytics"]),
        ("import importlib\nm = importlib.import_module('dvc.repo')", ["importlib", "dvc"]),
        ("from . import torch", []),
    ],
)
def test_the_reader_of_imports_sees_every_form(code, names):
    assert [name for name, _ in imported(ast.parse(code))] == names


def test_importing_the_domain_loads_no_heavy_library():
    script = (
        "import importlib, pkgutil, sys, hakka\n"
        "for module in pkgutil.walk_packages(hakka.__path__, 'hakka.'):\n"
        "    if not module.name.endswith('__main__') and '.quality.' not in module.name:\n"
        "        importlib.import_module(module.name)\n"
        f"print(sorted({set(OWNERS)!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_the_command_line_and_its_texts_load_no_numpy():
    script = "import sys, hakka.cli, hakka.texts; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "False", done.stderr

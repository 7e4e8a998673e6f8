"""The hashed locks: exact, whole, of one mind, and enough for what each image runs."""

import ast
import importlib.metadata
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("run", "train", "serve", "app", "monitor", "dev")
OWN = {"hakka", "components", "pipelines", "serving", "app"}


def read_lock(name: str) -> dict[str, str]:
    """Version by package."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, flags=re.MULTILINE))


@pytest.mark.parametrize("name", LOCKS)
def test_every_line_is_a_pin_or_a_hash(name):
    pin = r"[a-z0-9-]+==\S+( ; [^\\]+)? \\"
    for line in (ROOT / "requirements" / f"{name}.txt").read_text().splitlines():
        assert re.fullmatch(rf"{pin}|    --hash=sha256:[0-9a-f]{{64}}( \\)?", line), line


@pytest.mark.parametrize("name", LOCKS)
def test_what_depends_on_the_machine_is_not_locked(name):
    packages = read_lock(name)
    assert not {"torch", "torchvision", "triton", "opencv-python"} & set(packages)
    # nvidia-ml-py is a small pure-Python reader of GPU figures, not a part of CUDA.
    assert [
        package for package in packages if package.startswith(("cuda", "nvidia-")) and package != "nvidia-ml-py"
    ] == []


def test_torch_is_pinned_beside_the_locks():
    lines = (ROOT / "requirements/torch.txt").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["torch==2.13.0", "torchvision==0.28.0"]


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        (
            "serve",
            {
                "ultralytics",
                "kfp",
                "clearml",
                "streamlit",
                "evidently",
                "dvc",
                "nncf",
                "kubernetes",
                "cryptography",
                "pandas",
            },
        ),
        (
            "app",
            {"ultralytics", "kfp", "kserve", "clearml", "evidently", "dvc", "openvino", "onnxruntime", "kubernetes"},
        ),
        ("monitor", {"ultralytics", "kfp", "kserve", "clearml", "streamlit", "dvc", "openvino", "onnxruntime"}),
        ("train", {"kserve", "streamlit"}),
    ],
)
def test_an_image_holds_only_its_own_libraries(name, absent):
    assert absent & set(read_lock(name)) == set()


@pytest.mark.parametrize("name", LOCKS)
def test_a_package_has_one_version_in_all_locks(name):
    everything = read_lock("dev")
    assert {
        package: version for package, version in read_lock(name).items() if everything.get(package) != version
    } == {}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_what_its_input_asks_for(name):
    assert inputs(name) <= set(read_lock(name).items())


def inputs(name: str) -> set[tuple[str, str]]:
    """(package, version) of an .in file and of those that it includes."""
    found = set()
    for line in (ROOT / "requirements" / f"{name}.in").read_text().splitlines():
        if line.startswith("-r "):
            found |= inputs(line.removeprefix("-r ").removesuffix(".in"))
        elif line and not line.startswith("#"):
            package, version = line.split("==")
            found.add((package.partition("[")[0], version))
    return found


def imports(path: Path, *, lazy: bool) -> set[str]:
    """Dotted names that a module imports: at its top, or with ``lazy`` anywhere in it."""
    tree = ast.parse(path.read_text())
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    nodes: Iterable[ast.AST] = ast.walk(tree) if lazy else tree.body
    found: set[str] = set()
    for node in nodes:
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def find_module(name: str) -> Path | None:
    base = ROOT.joinpath(*name.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def foreign_modules(*places: str) -> set[str]:
    """Foreign modules that the places import anywhere, and those that what they use of Hakka needs to load."""
    roots = [ROOT / place for place in places]
    waiting = [(path, True) for root in roots for path in ([root] if root.is_file() else sorted(root.rglob("*.py")))]
    seen, foreign = set(), set()
    while waiting:
        path, lazy = waiting.pop()
        if (path, lazy) in seen:
            continue
        seen.add((path, lazy))
        for name in imports(path, lazy=lazy):
            if name.split(".")[0] not in OWN:
                foreign.add(name.split(".")[0])
                continue
            parts = name.split(".")
            loaded = (find_module(".".join(parts[:length])) for length in range(1, len(parts) + 1))
            waiting += [(module, False) for module in loaded if module]
    return foreign - set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("serve", ["serving", "hakka/detector/runtime.py", "hakka/registry", "hakka/monitor/log.py"]),
        ("app", ["app", "hakka/recipes"]),
        ("monitor", ["hakka/monitor", "hakka/registry", "hakka/__main__.py"]),
        ("train", ["components", "pipelines"]),
        ("run", ["hakka", "components", "pipelines", "serving", "app"]),
    ],
)
def test_a_lock_is_enough_for_the_code_of_its_image(name, places):
    installed = importlib.metadata.packages_distributions()
    locked = set(read_lock(name)) | ({"torch", "torchvision"} if name in ("train", "run") else set())
    unused = {"pandas"} if name == "serve" else set()  # hakka.monitor reads a log with it, an endpoint only writes one
    missing = {
        module
        for module in foreign_modules(*places) - unused
        if not locked & {re.sub(r"[-_.]+", "-", dist).lower() for dist in installed.get(module, [module])}
    }
    assert missing == set()

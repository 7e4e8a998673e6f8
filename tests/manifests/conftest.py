import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.manifests.custom_resources import FOLDER, CustomResources

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
OVERLAYS = sorted(
    path.parent.relative_to(MANIFESTS).as_posix() for path in MANIFESTS.glob("overlays/*/kustomization.yaml")
)


def find_kubectl() -> str:
    beside = Path(sys.executable).with_name("kubectl")
    return (
        str(beside)
        if beside.exists()
        else shutil.which("kubectl") or pytest.fail("no kubectl: install requirements/dev.txt")
    )


def build(folder: Path) -> list[dict]:
    """The resources that ``kubectl apply -k`` would send."""
    done = subprocess.run([find_kubectl(), "kustomize", folder], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr.lower(), done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture(scope="session", params=OVERLAYS)
def resources(request: pytest.FixtureRequest) -> list[dict]:
    """All resources of one overlay."""
    return build(MANIFESTS / request.param)


@pytest.fixture(scope="session")
def custom() -> CustomResources:
    if not FOLDER.is_dir():
        pytest.skip(
            f"no schemas of the custom resources: there is no {FOLDER.parent.name}/{FOLDER.name} beside the repository"
        )
    return CustomResources()

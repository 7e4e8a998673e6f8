"""Which folder a run reads: as it lies, or a version that DVC keeps, on a real small repository."""

import json
import subprocess

import pytest
from data_pictures import draw

from hakka.data.fingerprint import fingerprint
from hakka.data.pinning import pin
from hakka.data.versions import commit, revision, track
from hakka.errors import InvalidInput, NotFound


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A git repository with a photo folder in two versions: v1 has two photos, v2 three; the folder lies as v2."""
    folder = tmp_path_factory.mktemp("project")
    for arguments in (["init", "--quiet"], ["config", "user.name", "a"], ["config", "user.email", "a@example.org"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    for version, count in (("v1", 2), ("v2", 3)):
        images = []
        for number in range(count):
            if not (folder / f"photos/{number}.jpg").exists():
                draw(folder / f"photos/{number}.jpg", number)
            images.append({"id": number, "file_name": f"{number}.jpg", "width": 96, "height": 64})
        (folder / "photos" / "coco.json").unlink(missing_ok=True)  # a link to DVC's cache is not to be written into
        (folder / "photos" / "coco.json").write_text(
            json.dumps({"images": images, "annotations": [], "categories": []})
        )
        commit(track(folder / "photos", folder / "store"), f"photos {version}", tag=version)
    return folder


def test_an_empty_revision_is_the_folder_as_it_lies_by_its_version_while_it_has_one(project, tmp_path):
    photos = project / "photos"
    folder, name = pin(photos, "", tmp_path)
    assert (folder, name) == (str(photos), revision(photos))
    assert name.startswith("dvc-")
    draw(photos / "more.jpg", 9)
    assert pin(photos, "", tmp_path) == (str(photos), fingerprint(photos))
    (photos / "more.jpg").unlink()
    assert pin(photos, "", tmp_path) == (str(photos), name)
    (project / ".dvc").rename(project / "away")
    try:
        assert pin(photos, "", tmp_path) == (str(photos), fingerprint(photos))
    finally:
        (project / "away").rename(project / ".dvc")


def test_a_tag_is_laid_out_once_and_goes_by_the_name_of_its_content(project, tmp_path):
    folder, name = pin(project / "photos", "v1", tmp_path)
    assert name.startswith("dvc-")
    assert sorted(path.name for path in tmp_path.glob("*/*")) == ["0.jpg", "1.jpg", "coco.json"]
    assert len(json.loads((tmp_path / folder / "coco.json").read_text())["images"]) == 2
    assert (project / "photos" / "2.jpg").is_file()
    assert pin(project / "photos", "HEAD~1", tmp_path) == (folder, name)
    assert pin(project / "photos", name, tmp_path) == (folder, name)


def test_the_present_version_by_its_lasting_name_is_the_folder_itself(project, tmp_path):
    photos = project / "photos"
    assert pin(photos, revision(photos), tmp_path) == (str(photos), revision(photos))
    assert not list(tmp_path.iterdir())


def test_a_local_name_holds_only_while_the_folder_is_the_same(tmp_path):
    draw(tmp_path / "photos" / "a.jpg", 1)
    name = revision(tmp_path / "photos")
    assert pin(tmp_path / "photos", name, tmp_path) == (str(tmp_path / "photos"), name)
    draw(tmp_path / "photos" / "b.jpg", 2)
    with pytest.raises(InvalidInput, match=f"must still be {name}, but it has changed"):
        pin(tmp_path / "photos", name, tmp_path)


def test_a_revision_that_nobody_knows_is_one_sentence(project, tmp_path):
    with pytest.raises(NotFound, match="v9"):
        pin(project / "photos", "v9", tmp_path)

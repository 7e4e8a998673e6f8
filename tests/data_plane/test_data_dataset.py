"""Reading a dataset back, laying it out for training, YOLO in, and the revisions of the source."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from data_pictures import draw
from hypothesis import given, settings
from hypothesis import strategies as st

from hakka.boxes import cxcywh_to_xyxy
from hakka.cli import main
from hakka.data import labels, load_dataset, materialize, place
from hakka.data.convert import convert
from hakka.data.dataset import content_digest
from hakka.data.fingerprint import fingerprint
from hakka.data.formats.annotations import SourceImage
from hakka.data.scan import Scan
from hakka.errors import InvalidInput, NotFound, Tampered, Unavailable
from hakka.files import whole_folder

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "epicure_ingredients"


def test_materialize_links_images_and_writes_what_ultralytics_reads(write_coco, tmp_path):
    source = write_coco(9)
    (source / "images" / "000.jpg").rename(source / "images" / "kept.JPEG")
    text = (source / "annotations.json").read_text().replace("000.jpg", "kept.JPEG")
    (source / "annotations.json").write_text(text)
    convert(source, tmp_path / "out")
    dataset = load_dataset(tmp_path / "out")
    data_yaml = materialize(dataset, source, tmp_path / "yolo")
    content = yaml.safe_load(data_yaml.read_text())
    assert content["names"] == {0: "apple", 1: "mik"}
    for entry in dataset.entries:
        image = tmp_path / "yolo" / content[entry.split] / f"{entry.stem}.jpg"
        assert image.samefile(source / entry.image)
        labels = np.loadtxt(tmp_path / "yolo" / "labels" / entry.split / f"{entry.stem}.txt", ndmin=2)
        assert np.array_equal(labels, dataset.labels(entry))
    only_test = materialize(dataset, source, tmp_path / "yolo", splits=("test",)).parent
    assert not list((only_test / "images" / "train").iterdir())
    assert len(list((only_test / "images" / "test").iterdir())) == len(dataset.split("test"))


def test_materialize_notices_what_changed_and_leaves_nothing_half_done(write_coco, tmp_path):
    source = write_coco(3)
    convert(source, tmp_path / "out")
    dataset = load_dataset(tmp_path / "out")
    draw(source / "images" / "001.jpg", 1, (200, 200))
    with pytest.raises(Tampered, match=r"001\.jpg: must have"):
        materialize(dataset, source, tmp_path / "yolo")
    (source / "images" / "001.jpg").unlink()
    with pytest.raises(NotFound, match="not in the data folder"):
        materialize(dataset, source, tmp_path / "yolo")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").touch()
    with pytest.raises(InvalidInput, match="will not replace"):
        materialize(dataset, source, tmp_path / "mine")


def test_two_images_of_one_stem_get_two_label_files(source, tmp_path):
    for i, name in enumerate(("a/x.jpg", "b/X.jpg", "b/x.png", "y.jpg")):
        draw(source / name, i)
    images = [{"id": i, "file_name": name} for i, name in enumerate(("a/x.jpg", "b/X.jpg", "b/x.png", "y.jpg"))]
    boxes = [{"image_id": i, "category_id": 1, "bbox": [i, i, 5, 5]} for i in range(4)]
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "egg"}]}
    (source / "coco.json").write_text(json.dumps(content))
    convert(source, tmp_path / "out")
    dataset = load_dataset(tmp_path / "out")
    stems = [entry.stem for entry in dataset.entries]
    assert len({stem.lower() for stem in stems}) == 4
    assert stems[3] == "y"
    assert all(len(dataset.labels(entry)) == 1 for entry in dataset.entries)


@pytest.mark.parametrize(
    ("file", "content", "word"),
    [
        ("dataset.json", "{", "not valid JSON"),
        ("dataset.json", '{"format": 7}', "format must be 1, got 7"),
        ("dataset.json", '{"format": 1, "names": "egg", "digest": ""}', "list of names"),
        ("dataset.json", json.dumps({"format": 1, "names": ["\ud800"], "digest": "0" * 64}), "list of names"),
        ("dataset.json", json.dumps({"format": 1, "names": [], "digest": "\ud800" * 64}), "must be 64 hex digits"),
        ("dataset.json", json.dumps({"format": 1, "names": [], "digest": "\x1b[31m"}), r"got '\\x1b\[31m'$"),
        ("dataset.json", json.dumps({"format": "x" * 3_000_000}), "format must be 1, got 'xxx"),
        ("index.jsonl", "{}", "line 1 .* must have the fields"),
        ("index.jsonl", "[[[", "line 1 of"),
    ],
)
def test_a_broken_dataset_is_one_sentence(write_coco, tmp_path, file, content, word):
    convert(write_coco(3), tmp_path / "out")
    (tmp_path / "out" / file).write_text(content)
    with pytest.raises(InvalidInput, match=word) as raised:
        load_dataset(tmp_path / "out")
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("field", ["image", "split", "boxes"])
def test_a_value_of_megabytes_is_told_in_a_short_sentence(write_coco, tmp_path, capsys, field):
    convert(write_coco(3), tmp_path / "out")
    index = tmp_path / "out" / "index.jsonl"
    first, rest = index.read_text().split("\n", 1)
    index.write_text(json.dumps({**json.loads(first), field: "/" * 3_000_000}) + "\n" + rest)
    assert (
        main(["convert", str(tmp_path / "source"), "--out", str(tmp_path / "2"), "--keep-splits", str(index.parent)])
        == 2
    )
    said = capsys.readouterr().err
    assert said.startswith(f"error: line 1 of {index}: {field} must be ")
    assert len(said) < 500


def test_an_index_that_climbs_out_is_refused(write_coco, tmp_path):
    convert(write_coco(3), tmp_path / "out")
    index = tmp_path / "out" / "index.jsonl"
    index.write_text(index.read_text().replace("images/000.jpg", "../../000.jpg"))
    with pytest.raises(InvalidInput, match="relative path"):
        load_dataset(tmp_path / "out")


def test_the_digest_names_the_content(write_coco, tmp_path):
    convert(write_coco(3), tmp_path / "out")
    dataset = load_dataset(tmp_path / "out")
    assert content_digest(dataset) == dataset.digest
    with dataset.label_file(dataset.entries[0]).open("a") as file:
        file.write("0 0.5 0.5 0.1 0.1\n")
    assert content_digest(dataset) != dataset.digest


def test_yolo_in_gives_yolo_out(source, tmp_path):
    for i in range(4):
        draw(source / "images" / "train" / f"{i}.jpg", i)
    labels = source / "labels" / "train"
    labels.mkdir(parents=True)
    lines = [
        "1 0.5 0.5 0.25 0.5",
        "0 0.1 0.1 0.3 0.1 0.3 0.4 0.1 0.4",
        "5 0.5 0.5 0.1 0.1",
        "x",
        "0 0.5 nan 0.1 0.1",
        "0 .99 .5 .2 .2",
    ]
    (labels / "0.txt").write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    (labels / "9.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (source / "data.yaml").write_text("names: {1: mik, 0: egg}\ntrain: ../train/images\n")
    report = convert(source, tmp_path / "out")
    assert report["format"] == "yolo"
    assert report["images"] == {"found": 4, "converted": 4, "refused": 0}
    assert report["boxes"] == {"found": 7, "converted": 3, "clipped": 1, "refused": 4, "dropped": 0}
    dataset = load_dataset(tmp_path / "out")
    assert dataset.names == ("egg", "mik")
    expected = [[1, 0.5, 0.5, 0.25, 0.5], [0, 0.2, 0.25, 0.2, 0.3], [0, 0.945, 0.5, 0.11, 0.2]]
    assert np.allclose(dataset.labels(dataset.entries[0]), expected, atol=1e-6)
    (source / "data.yaml").write_text("nc: 2\n")
    with pytest.raises(InvalidInput, match="names must be a list"):
        convert(source, tmp_path / "out")


def test_the_fingerprint_changes_with_the_data_and_only_then(write_coco, tmp_path):
    source = write_coco(3)
    first = fingerprint(source)
    assert fingerprint(source) == first
    shutil.copytree(source, tmp_path / "moved", copy_function=shutil.copy2)
    assert fingerprint(tmp_path / "moved") == first
    os.utime(source / "images" / "000.jpg", (1, 1))
    second = fingerprint(source)
    (source / "annotations.json").write_text((source / "annotations.json").read_text() + " ")
    third = fingerprint(source)
    (source / "metadata.csv").write_text("image,place\n000.jpg,fridge\n")
    assert len({first, second, third, fingerprint(source)}) == 4
    with pytest.raises(InvalidInput, match="none there"):
        fingerprint(tmp_path / "gone")


def test_a_disk_that_takes_no_more_is_one_sentence_and_leaves_nothing(write_coco, tmp_path, monkeypatch):
    source = write_coco(3)

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(Unavailable, match="No space left"):
        convert(source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_what_a_killed_conversion_left_is_removed_and_what_a_running_one_uses_is_not(write_coco, tmp_path):
    source = write_coco(3)
    code = (
        "import os, sys, time; from pathlib import Path; from hakka.files import whole_folder\n"
        "with whole_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'half').touch(); print(folder, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "out")]
    killed, running = (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    )
    scratch = [Path(process.stdout.readline().strip()) for process in (killed, running)]
    killed.kill()
    killed.communicate()
    assert all((folder / "half").exists() for folder in scratch)
    convert(source, tmp_path / "out")
    assert [(folder / "half").exists() for folder in scratch] == [False, True]
    running.communicate("")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


def test_a_folder_that_was_about_to_be_replaced_comes_back(write_coco, tmp_path):
    source = write_coco(3)
    convert(source, tmp_path / "out")
    (tmp_path / ".out.last-x").mkdir()
    (tmp_path / "out").rename(tmp_path / ".out.last-x" / "out")  # here the process was killed
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "out"):
        raise RuntimeError
    assert len(load_dataset(tmp_path / "out").entries) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


KILLED_BETWEEN = """
import os, signal, sys
from hakka.cli import main
replace = os.replace
def replace_and_die(source, target):
    replace(source, target)
    if ".out.last-" in str(target):
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = replace_and_die
main(sys.argv[1:])
"""


@pytest.mark.parametrize("verb", ["convert", "validate"])
def test_a_dataset_whose_replacement_was_killed_is_there_for_the_next_command(write_coco, tmp_path, capsys, verb):
    out = tmp_path / "out"
    convert = ["convert", str(write_coco(6)), "--out", str(out)]
    assert main(convert) == 0
    digest = load_dataset(out).digest
    (tmp_path / "link").symlink_to(out)
    capsys.readouterr()
    killed = subprocess.run([sys.executable, "-c", KILLED_BETWEEN, *convert], capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists()
    again = {
        "convert": [*convert, "--keep-splits", str(out)],
        "validate": ["validate", str(tmp_path / "link"), "--out", str(tmp_path / "validation")],
    }
    assert main(again[verb]) == 0
    said = capsys.readouterr()
    assert said.err.endswith(" is back as it was: what was replacing it had been killed\n")
    assert "6 photos keep the split" in said.out or verb == "validate"
    assert load_dataset(out).digest == digest
    assert not list(tmp_path.glob(".*"))


def test_a_folder_that_cannot_be_replaced_leaves_nothing_behind(write_coco, tmp_path, capsys, monkeypatch):
    source = write_coco(3)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert main(["convert", str(source), "--out", "."]) == 2  # no system lets "." be renamed
    assert capsys.readouterr().err.startswith("error: .: the dataset cannot be written: ")
    assert not list(Path().iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "source"]


def test_what_was_there_comes_back_where_the_new_cannot_take_its_place(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "out") as folder:
        folder.rmdir()
    assert (tmp_path / "out" / "old").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    "command",
    [
        "convert source --out loop",
        "convert source --out loop/out",
        "convert loop --out out",
        "convert source --out out --keep-splits loop",
        "validate loop",
        "data list loop",
        "data diff HEAD --data loop",
    ],
)
def test_links_that_lead_in_a_circle_are_one_sentence(write_coco, tmp_path, capsys, monkeypatch, command):
    write_coco(3)
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path)
    assert main(command.split()) == 2
    assert capsys.readouterr().err.startswith("error: loop")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["loop", "source"]


SHARE = st.integers(0, 10**8).map(lambda units: units / 10**8)
LABEL = st.tuples(st.integers(0, 12345), SHARE, SHARE, SHARE, SHARE)


@settings(deadline=None)
@given(st.lists(st.lists(LABEL, max_size=4), max_size=6), st.integers(1, 4))
def test_label_files_hold_every_digit(images, step):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labels, "_STEP", step)
        boxes = np.array([box for image in images for box in image], dtype=float).reshape(-1, 5)
        starts = np.cumsum([0, *map(len, images)]).tolist()
        texts = list(labels.label_texts(boxes, starts))
    lines = ["".join(f"{label} {x:.8f} {y:.8f} {w:.8f} {h:.8f}\n" for label, x, y, w, h in image) for image in images]
    assert [text.decode() for text in texts] == lines


BOXES = st.lists(st.lists(st.floats(-50, 250), min_size=4, max_size=4), max_size=4)
PLACED_IMAGE = st.tuples(st.sampled_from([(100, 60), (60, 100), None, "shares"]), st.integers(1, 8), BOXES)


@settings(deadline=None)
@given(st.lists(PLACED_IMAGE, min_size=1, max_size=6), st.integers(1, 3))
def test_boxes_of_many_images_are_placed_as_each_by_itself(described, step):
    images, scans = [], {}
    for i, (size, orientation, boxes) in enumerate(described):
        width, height = (60, 100) if orientation >= 5 else (100, 60)
        claimed = size if size in ((width, height), (height, width) if orientation >= 5 else None) else None
        unit = "shares" if size == "shares" else "pixels"
        corners = [[x, y, x + abs(w) + 0.5, y + abs(h) + 0.5] for x, y, w, h in boxes]
        rows = np.array([[j, *box] for j, box in enumerate(corners)], dtype=float).reshape(-1, 5)
        rows[:, 1:] /= 100 if unit == "shares" else 1
        images.append(SourceImage(f"{i}.jpg", claimed, rows, range(len(rows)), unit))
        scans[f"{i}.jpg"] = Scan(f"{i}.jpg", width=width, height=height, orientation=orientation)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, "_STEP", step)
        placed = place.place_boxes(images, scans)
    refused = {(finding.image, finding.box) for finding in placed.findings if finding.kind == "refused"}
    clipped = {(finding.image, finding.box) for finding in placed.findings if finding.kind == "clipped"}
    for i, image in enumerate(images):
        scan = scans[image.image]
        frame = [scan.width, scan.height] * 2
        rows = placed.boxes[placed.starts[i] : placed.starts[i + 1]]
        found = cxcywh_to_xyxy(rows[:, 1:], scan.width, scan.height)
        kept = [j for j in range(len(image.boxes)) if (image.image, j) not in refused]
        assert rows[:, 0].tolist() == kept
        for j, box in zip(kept, found, strict=True):
            corners = image.boxes[j : j + 1, 1:] * (frame if image.unit == "shares" else 1)
            if image.size not in (None, (scan.width, scan.height)):
                corners = place.turn(corners, scan.orientation, scan.height, scan.width)
            assert np.allclose(box, np.clip(corners[0], 0, frame), atol=1e-9)
            assert (np.abs(np.clip(corners[0], 0, frame) - corners[0]).max() > 1e-3) == ((image.image, j) in clipped)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real photos are not on this machine")
def test_real_photos_convert_without_loss_and_scenes_stay_together(tmp_path):
    report = convert(SHARED, tmp_path / "out")
    assert report["images"] == {"found": 225, "converted": 225, "refused": 0}
    assert report["boxes"] == {"found": 1674, "converted": 1674, "clipped": 0, "refused": 0, "dropped": 0}
    dataset = load_dataset(tmp_path / "out")
    assert "cured_ goat_cheese" in dataset.names
    assert len(dataset.names) == 19
    trained = {int(label) for entry in dataset.split("train") for label in dataset.labels(entry)[:, 0]}
    assert trained == set(range(19))
    for split in ("val", "test"):
        assert 0.07 <= len(dataset.split(split)) / 225 <= 0.23
    seen_together = [  # looked at by eye: shots of one table whose own split tears them apart
        (
            "train/courgette_carrot_tomato_potato_egg_rice_banana",
            "valid/rice_banana_egg_potato_carrot_tomato_courgette",
        ),
        ("train/salmon_potato_egg_courgette_tomato", "valid/egg_banana_potato_salmon"),
        ("train/oil_egg_quinoa_potato_carrot_avocado", "train/oil_quinoa_egg_potato_avocado_carrot"),
    ]
    group_of = {entry.image.removeprefix("images/").partition("_JPG")[0]: entry.group for entry in dataset.entries}
    assert all(group_of[one] == group_of[other] for one, other in seen_together)


@pytest.mark.parametrize("content", ["{}", '{"format": 1, "names": ["a"], "digest": "x"}'])
def test_a_folder_that_only_looks_like_a_dataset_is_not_replaced(write_coco, tmp_path, content):
    source = write_coco(9)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "dataset.json").write_text(content)
    (tmp_path / "mine" / "precious.txt").write_text("x")
    with pytest.raises(InvalidInput, match="will not replace"):
        convert(source, tmp_path / "mine")
    assert (tmp_path / "mine" / "precious.txt").read_text() == "x"


def test_an_output_that_is_a_link_stays_one(write_coco, tmp_path):
    source = write_coco(9)
    (tmp_path / "link").symlink_to(tmp_path / "other disk" / "dataset")
    for _ in range(2):
        convert(source, tmp_path / "link")
        assert (tmp_path / "link").is_symlink()
        assert load_dataset(tmp_path / "other disk" / "dataset").entries


def test_an_earlier_dataset_in_the_source_is_no_data(tmp_path):
    source = tmp_path / "source"
    for i in range(4):
        draw(source / "images" / f"{i}.jpg", i)
        (source / "labels").mkdir(exist_ok=True)
        (source / "labels" / f"{i}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (source / "data.yaml").write_text("names: [egg]\n")
    first = convert(source, source / "one")
    second = convert(source, source / "two")
    assert first == second
    assert second["boxes"] == {"found": 4, "converted": 4, "clipped": 0, "refused": 0, "dropped": 0}

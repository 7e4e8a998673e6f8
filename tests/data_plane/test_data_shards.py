"""The look at the images in shards: shares, what a shard leaves behind, and the account that is put together."""

import json
import re

import pytest
from data_pictures import draw

from hakka.data.convert import convert
from hakka.data.shards import convert_scanned, list_images, read_shard, read_shards, scan_shard, shard_of
from hakka.errors import InvalidInput


@pytest.fixture
def source(write_coco):
    folder = write_coco(9)
    draw(folder / "images" / "copy.jpg", 3)  # the bytes of 003.jpg, and not in the annotations
    (folder / "images" / "005.jpg").write_bytes((folder / "images" / "005.jpg").read_bytes()[:300])
    (folder / "images" / "007.jpg").unlink()
    return folder


def scan(source, out, count):
    """The folders of all shards."""
    names = list_images(source, "auto", count, out / "images")
    folders = [out / f"shard-{number}" for number in range(count)]
    counts = [scan_shard(source, out / "images", folder, name) for folder, name in zip(folders, names, strict=True)]
    assert sum(entry["images"] for entry in counts) == 8  # the missing one is no image to look at
    return folders


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_shares_are_even_and_hang_on_nothing_but_the_name():
    names = [f"kitchen {number}/photo.jpg" for number in range(4000)]
    shares = [sum(shard_of(name, 4) == number for name in names) for number in (1, 2, 3, 4)]
    assert sum(shares) == 4000
    assert min(shares) > 900
    assert shard_of("kitchen 1/photo.jpg", 4) == shard_of("kitchen 1/photo.jpg", 4)
    assert shard_of("\udc80.jpg", 1) == 1


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_any_number_of_shards_gives_the_dataset_of_a_conversion_without_them(source, tmp_path, count):
    convert(source, tmp_path / "whole")
    report = convert_scanned(source, tmp_path / "sharded", "auto", scan(source, tmp_path, count)[::-1])
    assert content(tmp_path / "sharded") == content(tmp_path / "whole")
    assert (report["images"]["converted"], report["images"]["refused"]) == (7, 3)


def test_converting_from_scans_opens_no_image(source, tmp_path):
    folders = scan(source, tmp_path, 2)
    before = convert_scanned(source, tmp_path / "before", "auto", folders)
    for image in (source / "images").iterdir():
        image.write_bytes(b"no longer an image")
    assert convert_scanned(source, tmp_path / "after", "auto", folders) == before


def test_a_shard_says_what_it_read_and_what_was_wrong(source, tmp_path):
    list_images(source, "auto", 1, tmp_path / "images")
    counts = scan_shard(source, tmp_path / "images", tmp_path / "shard", "1/1")
    read = [path for path in (source / "images").iterdir() if path.name != "copy.jpg"]
    assert counts == {"images": 8, "bytes": sum(path.stat().st_size for path in read), "problems": 1}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folders: folders.pop(1), "shard 2 of the same scan is not"),
        (lambda folders: folders.append(folders[0]), "shard 1 is in"),
        (lambda folders: folders.clear(), "got shards of none"),
        (lambda folders: (folders[0] / "shard.json").write_text("[]"), "shard.json: not the record of a shard"),
        (lambda folders: (folders[0] / "shard.json").write_text('{"shard": 1, "shards": 2}'), "got shards of 2, 3"),
        (lambda folders: (folders[0] / "shard.json").unlink(), "shard.json: no such file"),
        (lambda folders: (folders[0] / "scans.jsonl").write_text("{}\n"), "line 1 of .*scans.jsonl"),
        (
            lambda folders: (folders[1] / "scans.jsonl").write_bytes((folders[0] / "scans.jsonl").read_bytes()),
            "another shard looked at images/",
        ),
    ],
)
def test_shards_that_do_not_make_one_scan_are_one_sentence(source, tmp_path, spoil, words):
    folders = scan(source, tmp_path, 3)
    spoil(folders)
    with pytest.raises(InvalidInput, match=words) as caught:
        read_shards(folders)
    assert "\n" not in str(caught.value)


def test_images_that_came_to_the_source_after_the_scan_are_one_sentence(source, tmp_path):
    folders = scan(source, tmp_path, 2)
    annotations = json.loads((source / "annotations.json").read_text())
    annotations["images"].append({"id": 99, "file_name": "copy.jpg", "width": 96, "height": 64})
    (source / "annotations.json").write_text(json.dumps(annotations))
    with pytest.raises(InvalidInput, match=re.escape("copy.jpg")):
        convert_scanned(source, tmp_path / "dataset", "auto", folders)


@pytest.mark.parametrize("text", ["", "2", "3/2", "0/2", "1/0", "-1/2", "1/2/3", "²/3", "1/99999999"])
def test_a_text_that_names_no_shard_is_refused(text):
    with pytest.raises(InvalidInput, match="such as 2/4"):
        read_shard(text)


@pytest.mark.parametrize("count", [0, -1, 10_001])
def test_a_number_of_shards_that_no_pipeline_can_run_is_refused(source, tmp_path, count):
    with pytest.raises(InvalidInput, match=f"shards must be 1 to 10000, got {count}"):
        list_images(source, "auto", count, tmp_path / "images")


@pytest.mark.parametrize("text", ["[1", "7", '{"a": 1}'])
def test_a_list_of_images_that_is_none_is_one_sentence(source, tmp_path, text):
    (tmp_path / "images").write_text(text)
    with pytest.raises(InvalidInput, match="not a list of images"):
        scan_shard(source, tmp_path / "images", tmp_path / "shard", "1/1")

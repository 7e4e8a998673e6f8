"""The splits of an earlier version of the data: its photos stay, whatever is added, and runs find it by themselves."""

import hashlib
import json
import shutil
import subprocess

import numpy as np
import pytest
from data_pictures import coco, draw
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hakka.cli import main
from hakka.data.convert import convert
from hakka.data.dataset import load_dataset
from hakka.data.earlier import Earlier, find_earlier, read_earlier, remember_dataset
from hakka.data.entries import make_entries
from hakka.data.formats import SourceImage
from hakka.data.scan import Scan
from hakka.data.shards import convert_scanned, list_images, scan_shard
from hakka.data.split import SPLITS, SplitParams
from hakka.errors import InvalidInput
from hakka.files import read_json

BASES = np.random.default_rng(0).integers(0, 256, (4, 32), dtype=np.uint8)


def photo(number: int, base: int | None = None, turned: int = 0) -> Scan:
    """A scan without a file; of the photos with one ``base`` those are near whose ``turned`` are nearly the same."""
    bits = np.unpackbits(np.random.default_rng(number + 99).integers(0, 256, 32, dtype=np.uint8))
    if base is not None:
        bits = np.unpackbits(BASES[base])
        bits[:turned] ^= 1
    sha256 = hashlib.sha256(str(number).encode()).hexdigest()
    return Scan(f"{number}.jpg", sha256=sha256, look=np.packbits(bits).tobytes(), width=9, height=9)


def split(photos: list[tuple[Scan, list[int]]], earlier: Earlier | None = None):
    """Image → split of photos with the classes on them, and what was noted; also what the next version needs."""
    images = [SourceImage(scan.image, None, np.zeros((0, 5)), (), "pixels") for scan, _ in photos]
    starts = np.cumsum([0, *(len(classes) for _, classes in photos)]).tolist()
    labels = np.array([label for _, classes in photos for label in classes], dtype=float)
    looked = {scan.image: scan for scan, _ in photos}
    entries, kept, leaks = make_entries(images, looked, labels, starts, SplitParams(), earlier)
    later = Earlier("d" * 64, {entry.sha256: entry.split for entry in entries})
    notes = [*filter(None, [kept]), *(leak.reason for leak in leaks)]
    return {entry.image: entry.split for entry in entries}, notes, later, entries


PHOTOS = st.tuples(
    st.one_of(st.none(), st.integers(0, len(BASES) - 1)), st.integers(0, 200), st.lists(st.integers(0, 4), max_size=3)
)


@settings(deadline=None, max_examples=60)
@given(st.lists(PHOTOS, min_size=1, max_size=40), st.lists(PHOTOS, max_size=40), st.randoms(use_true_random=False))
def test_whatever_is_added_nobody_moves(first, more, random):
    described = [(photo(i, base, turned), classes) for i, (base, turned, classes) in enumerate(first + more)]
    old, *_, earlier, _ = split(described[: len(first)])
    random.shuffle(described)
    new, notes, _, entries = split(described, earlier)
    assert {image: new[image] for image in old} == old
    torn = 0
    for group in {entry.group for entry in entries}:
        members = [entry for entry in entries if entry.group == group]
        known = {entry.split for entry in members if entry.image in old}
        torn += len(known) > 1
        assert {entry.split for entry in members} <= known if known else len({e.split for e in members}) == 1
    assert sum("leaks" in note for note in notes) == torn
    assert split(described[::-1], earlier)[0] == new


def test_a_rare_class_of_new_scenes_reaches_every_split_where_it_can():
    old, *_, earlier, _ = split([(photo(i), [0]) for i in range(200)])
    more = [(photo(i), [1]) for i in range(200, 206)]
    new, notes, *_ = split([(photo(i), [0]) for i in range(200)] + more, earlier)
    assert {new[image] for image in new.keys() - old.keys()} == set(SPLITS)
    [note] = notes
    assert note == (
        "200 photos keep the split of the earlier dataset dddddddddddd, 0 new ones join their scenes, 6 are spread; "
        "0 of its photos are not here"
    )


def bridge():
    """Two scenes, 120 bits apart and in different splits, and a photo that is near to both."""
    one, other, between = photo(1, 0, 0), photo(2, 0, 120), photo(3, 0, 60)
    return [one, other, between], Earlier("e" * 64, {one.sha256: "test", other.sha256: "val"})


def test_a_photo_that_links_two_earlier_scenes_moves_neither_and_is_told():
    photos, earlier = bridge()
    new, notes, *_ = split([(scan, []) for scan in photos], earlier)
    assert new == {"1.jpg": "test", "2.jpg": "val", "3.jpg": "val"}
    assert notes[1] == (
        "the earlier dataset's split leaks: near-identical photos are in test and val, such as 1.jpg and 2.jpg; "
        "new in this scene: 3.jpg"
    )
    more = photo(4, 0, 1)
    earlier = Earlier("e" * 64, {**earlier.splits, more.sha256: "test"})
    assert split([(scan, []) for scan in [*photos, more]], earlier)[0]["3.jpg"] == "test"  # where most of them are


def test_photos_that_are_gone_are_counted():
    _, _, earlier, _ = split([(photo(i), [0]) for i in range(20)])
    _, notes, *_ = split([(photo(i), [0]) for i in range(5, 22)], earlier)
    assert "15 photos keep" in notes[0]
    assert "2 are spread; 5 of its photos are not here" in notes[0]


def write(source, photos):
    """COCO annotations and pictures; a photo is (file name, seed, category)."""
    for name, seed, _ in photos:
        if not (source / name).exists():
            draw(source / name, seed)
    images = [{"id": i, "file_name": name} for i, (name, *_) in enumerate(photos)]
    boxes = [
        {"image_id": i, "category_id": category, "bbox": [8, 8, 20, 20]} for i, (*_, category) in enumerate(photos)
    ]
    (source / "a.json").write_text(json.dumps(coco(images, boxes, ("apple", "egg"))))


def split_of(dataset):
    return {entry.image: entry.split for entry in load_dataset(dataset).entries}


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def versions(source, tmp_path):
    """The dataset of 30 photos, and the source with 21 more: some of a rare class, one another shot of an old one."""
    photos = [(f"{i}.jpg", i, 10) for i in range(30)]
    write(source, photos)
    convert(source, tmp_path / "first")
    Image.open(source / "7.jpg").save(source / "again.jpg", quality=60)
    write(source, [*photos, *((f"{i}.jpg", i, 20 if i < 45 else 10) for i in range(30, 50)), ("again.jpg", 0, 20)])
    return tmp_path / "first", source


def test_a_conversion_keeps_the_splits_of_the_dataset_that_it_is_given(versions, tmp_path):
    first, source = versions
    report = convert(source, tmp_path / "second", earlier=first)
    before, after = split_of(first), split_of(tmp_path / "second")
    assert {image: after[image] for image in before} == before
    assert after["again.jpg"] == before["7.jpg"]
    assert report["kept_splits"] == report["findings"][0]["reason"]
    assert report["kept_splits"].startswith("30 photos keep the split")
    assert read_json(tmp_path / "second" / "dataset.json")["earlier"] == load_dataset(first).digest
    free = convert(source, tmp_path / "free")
    assert (free["findings"], free.keys()) == ([], report.keys() - {"kept_splits"})


def test_shards_and_repetition_give_the_same_bytes_also_over_the_earlier_dataset_itself(versions, tmp_path):
    first, source = versions
    convert(source, tmp_path / "second", earlier=first)
    scans = [tmp_path / "1", tmp_path / "2"]
    for folder, shard in zip(scans, list_images(source, "auto", 2, tmp_path / "images"), strict=True):
        scan_shard(source, tmp_path / "images", folder, shard)
    convert_scanned(source, tmp_path / "sharded", "auto", scans, first)
    convert(source, first, earlier=first)
    assert content(tmp_path / "second") == content(tmp_path / "sharded") == content(first)


def test_the_option_of_the_verb(versions, tmp_path, capsys):
    first, source = versions
    command = ["convert", str(source), "--out", str(tmp_path / "out"), "--keep-splits"]
    assert main([*command, str(first)]) == 0
    assert "  30 photos keep the split of the earlier dataset " in capsys.readouterr().out
    assert main([*command, str(source)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {source}: not a dataset")
    with pytest.raises(SystemExit):
        main([*command, str(first), "--keep-source-split"])
    with pytest.raises(InvalidInput, match="or the source's own, got both"):
        convert(source, tmp_path / "out", earlier=first, params=SplitParams(keep_source=True))


def test_the_version_that_was_accepted_last_is_found_and_the_same_data_finds_what_it_found_before(versions, tmp_path):
    first, source = versions
    accepted, params = tmp_path / "accepted", SplitParams()
    name = str(source)
    assert find_earlier(accepted, name, "r1", params) == ""
    remember_dataset(first, accepted, name, "r1")
    digest = load_dataset(first).digest
    expected = read_earlier(first)
    assert find_earlier(accepted, name, "r1", params) == ""
    assert find_earlier(accepted, name, "r2", params) == digest
    assert find_earlier(accepted, str(tmp_path), "r2", params) == ""
    shutil.rmtree(first)
    assert read_earlier(accepted / digest) == expected
    convert(source, tmp_path / "second", earlier=accepted / digest)
    remember_dataset(tmp_path / "second", accepted, name, "r2")
    assert find_earlier(accepted, name, "r2", params) == digest
    assert find_earlier(accepted, name, "r3", params) == load_dataset(tmp_path / "second").digest


@pytest.mark.parametrize("change", [{"seed": 1}, {"val": 0.2}, {"keep_source": True}])
def test_other_params_of_the_split_begin_anew(versions, tmp_path, change):
    first, source = versions
    remember_dataset(first, tmp_path / "accepted", str(source), "r1")
    assert find_earlier(tmp_path / "accepted", str(source), "r2", SplitParams(**change)) == ""


@pytest.mark.parametrize(
    "record", [{}, [], None, "{", {"dataset": "../../first"}, {"dataset": None}, {"dataset": ""}, {"earlier": None}]
)
def test_a_damaged_record_of_the_accepted_data_is_one_sentence_with_the_way_out(versions, tmp_path, record):
    first, source = versions
    accepted = tmp_path / "accepted here"
    remember_dataset(first, accepted, str(source), "r1")
    [file] = accepted.glob("*.json")
    whole = read_json(file)
    file.write_text(record if isinstance(record, str) else json.dumps({**whole, **record} if record else record))
    for revision in ("r1", "r2"):
        with pytest.raises(InvalidInput, match="this record of the accepted data is damaged; begin the splits") as told:
            find_earlier(accepted, str(source), revision, SplitParams())
    subprocess.run(str(told.value).rpartition("photos: ")[2], shell=True, check=True)  # as the sentence says
    assert find_earlier(accepted, str(source), "r2", SplitParams()) == ""


def damage_index(folder):
    (folder / "index.jsonl").write_bytes((folder / "index.jsonl").read_bytes().replace(b'"test"', b'"val"', 1))


def damage_about(folder):
    (folder / "dataset.json").write_text("{")


@pytest.mark.parametrize("damage", [damage_index, damage_about, shutil.rmtree])
def test_damaged_splits_of_the_accepted_data_are_told_and_not_lost(versions, tmp_path, damage):
    """Neither dropped nor taken from the version before; a run of the data as it was writes them again."""
    first, source = versions
    accepted, name, params = tmp_path / "accepted", str(source), SplitParams()
    remember_dataset(first, accepted, name, "r1")
    second = tmp_path / "second"
    convert(source, second, earlier=accepted / find_earlier(accepted, name, "r2", params))
    remember_dataset(second, accepted, name, "r2")
    kept = accepted / load_dataset(second).digest
    expected = content(kept)
    damage(kept)
    with pytest.raises(InvalidInput) as told:
        find_earlier(accepted, name, "r3", params)
    [file] = accepted.glob("*.json")
    assert str(told.value).startswith(f"{kept}: the splits of the accepted data are missing there or damaged; run the ")
    assert str(told.value).endswith(
        f"begin the splits anew, after which the champion may have seen test photos: rm {file}"
    )

    again = tmp_path / "again"
    convert(source, again, earlier=accepted / find_earlier(accepted, name, "r2", params))
    remember_dataset(again, accepted, name, "r2")
    assert content(kept) == expected
    assert find_earlier(accepted, name, "r3", params) == kept.name


def test_where_the_version_before_is_damaged_the_accepted_one_holds_the_same_splits(versions, tmp_path):
    first, source = versions
    accepted, name, params = tmp_path / "accepted", str(source), SplitParams()
    remember_dataset(first, accepted, name, "r1")
    before = accepted / find_earlier(accepted, name, "r2", params)
    convert(source, tmp_path / "second", earlier=before)
    remember_dataset(tmp_path / "second", accepted, name, "r2")
    damage_index(before)
    found = find_earlier(accepted, name, "r2", params)
    convert(source, tmp_path / "again", earlier=accepted / found)
    assert found == load_dataset(tmp_path / "second").digest == load_dataset(tmp_path / "again").digest
    damage_index(accepted / found)
    with pytest.raises(InvalidInput, match="missing there or damaged"):
        find_earlier(accepted, name, "r2", params)


def test_an_index_that_lost_lines_is_not_taken_for_an_earlier_dataset(versions, tmp_path):
    first, source = versions
    lines = (first / "index.jsonl").read_bytes().splitlines(keepends=True)
    (first / "index.jsonl").write_bytes(b"".join(lines[:20]))
    with pytest.raises(InvalidInput, match=r"index\.jsonl: must have the images that dataset\.json counts"):
        convert(source, tmp_path / "out", earlier=first)
    assert not (tmp_path / "out").exists()


def change_index(dataset, change, about=()):
    """Write the entries of an index as ``change`` leaves them, and what ``about`` adds to dataset.json."""
    index = dataset / "index.jsonl"
    entries = [json.loads(line) for line in index.read_text().splitlines()]
    change(entries)
    index.write_text("".join(json.dumps(entry, separators=(",", ":")) + "\n" for entry in entries))
    content = read_json(dataset / "dataset.json") | dict(about)
    (dataset / "dataset.json").write_text(json.dumps(content))
    return entries


def swap_splits(entries):
    """Two photos change their places: every split has as many as before."""
    one, other = (next(entry for entry in entries if entry["split"] == split) for split in ("train", "test"))
    one["split"], other["split"] = "test", "train"


def make_twins(entries):
    """A photo of train gets the digest of one of test."""
    one, other = (next(entry for entry in entries if entry["split"] == split) for split in ("train", "test"))
    one["sha256"] = other["sha256"]


def test_an_index_that_was_changed_by_hand_is_not_taken_also_where_its_labels_are_gone(versions, tmp_path):
    first, source = versions
    accepted = tmp_path / "accepted"
    remember_dataset(first, accepted, str(source), "r1")
    for dataset in (first, accepted / load_dataset(first).digest):
        change_index(dataset, swap_splits)
        with pytest.raises(InvalidInput, match=r"index\.jsonl: must be as hakka convert wrote it, and it was changed"):
            convert(source, tmp_path / "out", earlier=dataset)


def test_a_photo_in_two_splits_is_told_with_both_names(versions):
    first, _ = versions
    entries = change_index(first, make_twins)
    index = hashlib.sha256((first / "index.jsonl").read_bytes()).hexdigest()
    change_index(first, lambda _: None, {"index_sha256": index})
    twins = [entry for entry in entries if sum(entry["sha256"] == other["sha256"] for other in entries) > 1]
    one, other = (f"'{entry['image']}' in {entry['split']}" for entry in twins)
    with pytest.raises(InvalidInput, match=f"the same photo must be in one split, got {one} and {other}$"):
        read_earlier(first)


def test_a_dataset_from_before_the_index_had_a_digest_is_still_read(versions):
    first, _ = versions
    expected = read_earlier(first)
    about = read_json(first / "dataset.json")
    del about["index_sha256"]
    (first / "dataset.json").write_text(json.dumps(about))
    assert read_earlier(first) == expected


def test_one_photo_is_counted_as_one():
    _, _, earlier, _ = split([(photo(1), []), (photo(2), [])])
    _, [note], *_ = split([(photo(1), []), (photo(3), [])], earlier)
    assert note == (
        "1 photo keeps the split of the earlier dataset dddddddddddd, 0 new ones join their scenes, 1 is spread; "
        "1 of its photos is not here"
    )

"""Who goes where: shares, stability, scenes that stay together."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from data_pictures import coco, draw
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from hakka.data import likeness, load_dataset
from hakka.data.convert import convert
from hakka.data.groups import group_scans
from hakka.data.scan import Scan, scan_images
from hakka.data.split import Scene, SplitParams, assign_splits, keep_splits
from hakka.errors import InvalidInput


def scenes(count: int, images: int = 1, classes: tuple[int, ...] = (0,), start: int = 0) -> list[Scene]:
    names = (hashlib.sha256(str(i).encode()).hexdigest()[:16] for i in range(start, start + count))
    return [Scene(name, images, frozenset(classes)) for name in names]


def test_adding_photos_moves_nobody():
    before = assign_splits(scenes(600), SplitParams())
    after = assign_splits(scenes(1200), SplitParams())
    assert {scene: after[scene] for scene in before} == before
    shares = [list(after.values()).count(split) / 1200 for split in ("train", "val", "test")]
    assert np.allclose(shares, [0.7, 0.15, 0.15], atol=0.04)


def test_order_does_not_matter_and_the_seed_does():
    several = scenes(100)
    assert assign_splits(several, SplitParams()) == assign_splits(several[::-1], SplitParams())
    assert assign_splits(several, SplitParams()) != assign_splits(several, SplitParams(seed=1))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.frozensets(st.integers(0, 5), max_size=3)), min_size=3, max_size=40))
def test_every_split_gets_something_and_every_class_is_trained(described):
    several = [Scene(f"{i:016x}", images, classes) for i, (images, classes) in enumerate(described)]
    split_of = assign_splits(several, SplitParams())
    assert set(split_of) == {scene.id for scene in several}
    assert "train" in split_of.values()
    trained = set().union(*(scene.classes for scene in several if split_of[scene.id] == "train"))
    assert trained == set().union(*(scene.classes for scene in several))


@pytest.mark.parametrize("count", range(3, 30))
def test_few_scenes_fill_all_three_splits(count):
    assert set(assign_splits(scenes(count), SplitParams()).values()) == {"train", "val", "test"}


def test_a_rare_class_reaches_every_split_where_it_can():
    several = scenes(200) + scenes(5, classes=(0, 1), start=1000)
    split_of = assign_splits(several, SplitParams())
    assert {split_of[scene.id] for scene in several[200:]} == {"train", "val", "test"}


@pytest.mark.parametrize("seed", range(12))
def test_rare_classes_reach_every_split_also_where_it_is_full(seed):
    rare = {photo: {0} for photo in range(100)}
    for label in range(1, 7):
        for photo in range(3):
            rare[(label * 13 + photo * 31) % 100].add(label)
    several = [replace(scene, classes=rare[i]) for i, scene in enumerate(scenes(100))]
    params = SplitParams(seed=seed)
    split_of = assign_splits(several, params)
    assert split_of == assign_splits(several[::-1], params)
    for label in range(7):
        assert {split_of[scene.id] for scene in several if label in scene.classes} == {"train", "val", "test"}, label
    for split in ("val", "test"):
        assert 7.5 <= list(split_of.values()).count(split) <= 22.5


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 9),
            st.frozensets(st.integers(0, 9), max_size=3),
            st.sampled_from([None, None, "train", "val", "test"]),
        ),
        max_size=40,
    )
)
def test_a_scene_that_is_held_stays(described):
    several = [Scene(f"{i:016x}", images, classes, held) for i, (images, classes, held) in enumerate(described)]
    split_of = assign_splits(several, SplitParams())
    assert all(split_of[scene.id] == scene.held for scene in several if scene.held)


def test_a_split_that_is_not_wanted_stays_empty():
    assert set(assign_splits(scenes(50), SplitParams(val=0.2, test=0.0)).values()) == {"train", "val"}


@pytest.mark.parametrize("values", [{"val": -0.1}, {"val": 0.5, "test": 0.5}, {"near_duplicate_bits": 300}])
def test_params_that_make_no_sense_are_refused(values):
    with pytest.raises(InvalidInput, match="split"):
        SplitParams(**values)


def test_another_shot_of_a_scene_joins_it_and_another_scene_does_not(tmp_path):
    base = Image.open(draw(tmp_path / "base.png", 3, (320, 240)))
    base.save(tmp_path / "again.jpg", quality=40)
    ImageEnhance.Brightness(base).enhance(0.7).save(tmp_path / "darker.jpg")
    base.crop((6, 4, 316, 236)).resize((512, 512)).save(tmp_path / "nearer.jpg")
    turned = base.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    for seed in range(20, 50):
        draw(tmp_path / f"{seed}.png", seed, (320, 240))
    names = sorted(path.name for path in tmp_path.iterdir())
    groups = group_scans(list(scan_images(tmp_path, names).values()), SplitParams().near_duplicate_bits)
    shots = ("base.png", "again.jpg", "darker.jpg", "nearer.jpg", "turned.jpg")
    assert len({groups[name] for name in shots}) == 1
    assert len(set(groups.values())) == 31


def test_a_copy_that_is_mirrored_or_upside_down_joins_the_scene(tmp_path):
    base = Image.open(draw(tmp_path / "base.png", 3, (320, 240)))
    turns = ("FLIP_LEFT_RIGHT", "FLIP_TOP_BOTTOM", "ROTATE_180")
    for turn in turns:
        copy = base.transpose(Image.Transpose[turn]).resize((280, 210))
        copy.convert("RGB").save(tmp_path / f"{turn}.jpg", quality=60)
    for seed in range(20, 50):
        draw(tmp_path / f"{seed}.png", seed, (320, 240))
    names = sorted(path.name for path in tmp_path.iterdir())
    scans = list(scan_images(tmp_path, names).values())
    groups = group_scans(scans, SplitParams().near_duplicate_bits)
    assert {groups[f"{turn}.jpg"] for turn in turns} == {groups["base.png"]}
    assert len(set(groups.values())) == 31
    assert len(set(group_scans(scans, 0).values())) == 34  # the search for likeness is off


def test_the_changed_copies_of_a_photo_in_an_export_of_roboflow_are_one_scene(tmp_path):
    base = Image.open(draw(tmp_path / "base.png", 3, (320, 240)))
    (tmp_path / "train").mkdir()
    copies = [
        base.transpose(Image.Transpose.TRANSPOSE),
        base.rotate(15),
        base.crop((100, 50, 320, 240)).transpose(Image.Transpose.ROTATE_90),
    ]
    for i, copy in enumerate(copies):
        copy.convert("RGB").save(tmp_path / "train" / f"table_jpg.rf.{hashlib.md5(bytes([i])).hexdigest()}.jpg")
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.jpg"))
    scans = list(scan_images(tmp_path, names).values())
    assert len(set(group_scans(scans, SplitParams().near_duplicate_bits, by_name=False).values())) == 3
    assert len(set(group_scans(scans, SplitParams().near_duplicate_bits).values())) == 1


def test_copies_of_a_photo_go_to_one_side(tmp_path):
    names = [f"{i // 3:03}_jpg.rf.{i:032x}.jpg" for i in range(60)]
    for i, name in enumerate(names):
        draw(tmp_path / "all" / name, 100 + i, (64, 64))
    (tmp_path / "all" / "annotations.json").write_text(
        json.dumps(coco([{"id": i, "file_name": name} for i, name in enumerate(names)], []))
    )
    convert(tmp_path / "all", tmp_path / "dataset")
    sides: dict[str, set[str]] = {}
    for entry in load_dataset(tmp_path / "dataset").entries:
        sides.setdefault(entry.image[:3], set()).add(entry.split)
    assert len(sides) == 20
    assert all(len(splits) == 1 for splits in sides.values())


def near_looks(seed: int, count: int) -> np.ndarray:
    """Random hashes, copies of them with some bits turned, one with all bits turned."""
    rng = np.random.default_rng(seed)
    looks = rng.integers(0, 2**64, (count, 4), dtype=np.uint64)
    for i in range(count // 2):
        bits = np.unpackbits(looks[i].view(np.uint8))
        bits[rng.permutation(256)[: rng.integers(0, 120)]] ^= 1
        looks[rng.integers(count // 2, count)] = np.packbits(bits).view(np.uint64)
    looks[-1] = ~looks[0]
    return looks


@pytest.mark.parametrize("bits", [0, 1, 15, 16, 84, 119, 255, 256])
def test_no_pair_of_look_alikes_is_missed(bits, monkeypatch):
    monkeypatch.setattr(likeness, "_ROWS", 3)
    monkeypatch.setattr(likeness, "_COLUMNS", 7)
    monkeypatch.setattr(likeness, "_TASK", 10)
    looks = near_looks(bits, 60)
    apart = np.bitwise_count(looks[:, None] ^ looks[None]).sum(axis=2)
    expected = {(i, j): apart[i, j] for i in range(60) for j in range(i) if apart[i, j] <= bits}
    pairs = [pair for block in likeness.close_pairs(looks, bits) for pair in zip(*block, strict=True)]
    assert {(i, j): bits for i, j, bits in pairs} == expected
    assert len(pairs) == len(expected)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 40), st.sampled_from([0, 40, 84, 110]))
def test_scenes_are_what_steps_of_likeness_link(seed, count, bits):
    looks = near_looks(seed, count)
    scans = [
        Scan(f"{i}.jpg", sha256=hashlib.sha256(bytes([i])).hexdigest(), look=looks[i].tobytes()) for i in range(count)
    ]
    linked = np.bitwise_count(looks[:, None] ^ looks[None]).sum(axis=2) <= bits
    for _ in range(count):
        linked = linked @ linked
    smallest = {f"{i}.jpg": min(scans[j].sha256 for j in np.flatnonzero(linked[i]))[:16] for i in range(count)}
    assert group_scans(scans, bits) == smallest


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["train", "val", "test", None]), st.sampled_from("abcd")), max_size=20))
def test_a_kept_split_is_kept_and_the_rest_goes_with_its_scene(images):
    own, groups = [split for split, _ in images], [scene for _, scene in images]
    splits = keep_splits(own, groups, SplitParams())
    for split, kept, scene in zip(own, splits, groups, strict=True):
        others = {other for other, group in images if group == scene and other is not None}
        assert kept in ({split} if split else others if len(others) == 1 else {"train", "val", "test"})

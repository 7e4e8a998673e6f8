"""Slices of a test set, and what else is read from its matches: by hand on a few boxes."""

import numpy as np
import pytest

from hakka.data.dataset import Dataset, ImageEntry
from hakka.detector.curves import best_thresholds, calibration, confusion, precision_curves
from hakka.detector.metrics import box_sizes, collect_matches, match_image
from hakka.detector.slices import BUILT_IN, Slice, check_metadata_slices, find_slices, measure_slices, take_slice
from hakka.errors import InvalidInput

SHAPE = (100, 100)
SMALL, LARGE = [0, 0, 8, 8.0], [20, 20, 70, 70.0]


@pytest.fixture
def matches():
    """Two images, two classes. 0: a small thing missed, a large one found. 1: a small one found, one invented."""
    empty = np.zeros((0, 4))
    first = match_image(
        np.array([LARGE]), np.array([0.9]), np.array([0]), np.array([SMALL, LARGE]), np.array([1, 0]), SHAPE
    )
    second = match_image(
        np.array([SMALL, [50, 50, 59, 59.0]]),
        np.array([0.8, 0.3]),
        np.array([1, 1]),
        np.array([SMALL]),
        np.array([1]),
        SHAPE,
    )
    third = match_image(empty, np.zeros(0), np.zeros(0, int), empty, np.zeros(0, int), SHAPE)
    return collect_matches([first, second, third], 2)


def test_size_is_the_share_of_the_photo_not_its_pixels():
    box = np.array([[0, 0, 90, 90.0]])
    assert [box_sizes(box, side, side)[0] for side in (100, 500, 2000)] == [2, 1, 0]


def test_a_slice_counts_only_what_belongs_to_it(matches):
    measured = measure_slices(
        matches,
        {
            "small": Slice(size=0),
            "medium": Slice(size=1),
            "large": Slice(size=2),
            "first": Slice(images=(0,)),
            "class 1": Slice(classes=(1,)),
            "no class": Slice(classes=()),
        },
    )
    assert set(measured) == {"small", "large", "first", "class 1"}, "a slice without boxes is left out"
    assert measured["large"] == {"images": 1, "boxes": 1, "map50": 1.0}
    assert measured["small"]["boxes"] == 2
    assert measured["small"]["map50"] == pytest.approx(51 / 101, abs=1e-6)  # one of two found: recall up to a half
    assert measured["first"] == {"images": 1, "boxes": 2, "map50": 0.5}
    small = take_slice(matches, Slice(size=0))
    assert small.score.tolist() == [0.8, 0.3], "an invented small box is a mistake about small boxes"


def test_thresholds_curves_confusion_and_calibration(matches):
    confidence, f1 = best_thresholds(matches)
    assert confidence.tolist() == [0.9, 0.8]
    assert f1.tolist() == pytest.approx([1.0, 2 / 3])
    curves = precision_curves(matches)
    assert curves[0].tolist() == [1.0] * 101
    assert curves[1][:51].tolist() == [1.0] * 51
    assert curves[1][51:].tolist() == [0.0] * 50
    matrix = confusion(
        np.array([LARGE, SMALL]), np.array([1, 1]), np.array([LARGE, [80, 80, 90, 90.0]]), np.array([0, 1]), 2
    )
    assert matrix.tolist() == [[0, 1, 0], [0, 0, 1], [0, 1, 0]]
    result = calibration(matches, 0.05)
    assert sum(row["count"] for row in result["bins"]) == 3
    assert result["error"] == pytest.approx((0.1 + 0.2 + 0.3) / 3, abs=1e-4)
    assert calibration(matches, 0.95) == {"error": None, "bins": []}


def _dataset(folder):
    entries = [
        ImageEntry(f"{i}.jpg", str(i), "0" * 64, 1, 100, 100, "test" if i < 3 else "train", (9, 1, 0, 1)[i], "g")
        for i in range(4)
    ]
    data = Dataset(folder, ("a", "b"), tuple(entries), "0" * 64)
    for entry in entries:
        data.label_file(entry).parent.mkdir(parents=True, exist_ok=True)
        data.label_file(entry).write_text("0 0.5 0.5 0.1 0.1\n" * entry.boxes)
    return data


def test_slices_come_from_the_look_of_photos_the_training_counts_and_a_table_of_the_users(tmp_path):
    data = _dataset(tmp_path)
    features = [{"brightness": b, "blur": 300.0} for b in (20.0, 120.0, 220.0)]
    (tmp_path / "metadata.csv").write_text("image,place,taken\n0.jpg,table,2026-01-01\n1.jpg,fridge,2026-01-02\n")
    slices = find_slices(data, data.split("test"), features, tmp_path)
    images = {name: part.images for name, part in slices.items() if part.images is not None}
    assert images == {
        "dark": (0,),
        "bright": (2,),
        "blurred": (),
        "crowded": (0,),
        "place=fridge": (1,),
        "place=table": (0,),
        "taken=2026-01-01": (0,),
        "taken=2026-01-02": (1,),
    }
    assert slices["rare classes"].classes == (0, 1)
    assert slices["medium boxes"] == Slice(size=1)
    assert {name for name in slices if "=" not in name} == set(BUILT_IN)


@pytest.mark.parametrize(
    "content",
    [
        "image;place\n0.jpg;fridge\n1.jpg;table\n",
        "\ufeffImage\tplace\t\n0.jpg\tfridge\t\n1.jpg\ttable\t\n",
        '"image","place"\r\n"photos\\0.jpg","fridge"\r\n"1.jpg"," table"\r\n',
    ],
    ids=["semicolons", "tabs", "quotes"],
)
def test_a_table_is_read_as_spreadsheets_write_it(tmp_path, content):
    data = _dataset(tmp_path)
    (tmp_path / "metadata.csv").write_bytes(content.encode())
    slices = find_slices(data, data.split("test"), [{"brightness": 1.0, "blur": 1.0}] * 3, tmp_path)
    assert slices["place=fridge"].images == (0,)
    assert slices["place=table"].images == (1,)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"photo,place\na,b\n", "needs a column 'image', got 'photo', 'place'"),
        (b"", "needs a column 'image', got none"),
        (b"\xff\xfe\x00image", "must be CSV in UTF-8"),
        (b'image,place\na.jpg,"fridge\nb.jpg,table\n', "must be CSV in UTF-8: unexpected end of data"),
        (b"image,place\na.jpg,on the table, left\n", "line 2: a row must have at most 2 values, got 3"),
        (b"image,place,place\na.jpg,b,c\n", "each column must have a name of its own, got 'place' twice"),
    ],
)
def test_a_metadata_table_that_is_none_is_one_sentence(tmp_path, content, words):
    data = _dataset(tmp_path)
    (tmp_path / "metadata.csv").write_bytes(content)
    with pytest.raises(InvalidInput, match=rf"metadata\.csv: {words}"):
        find_slices(data, data.split("test"), [{"brightness": 1.0, "blur": 1.0}] * 3, tmp_path)


TABLE = "image,place,grams,taken\n" + "".join(f"{i}.jpg,table,{i * 1.5},{i}.5.\n" for i in range(24))


def test_many_numbers_are_cut_into_quarters_of_the_rows(tmp_path):
    data = _dataset(tmp_path)
    (tmp_path / "metadata.csv").write_text(TABLE.replace("2.jpg,table,3.0", "2.jpg,table,34"))
    slices = find_slices(data, data.split("test"), [{"brightness": 1.0, "blur": 1.0}] * 3, tmp_path)
    found = {name: part.images for name, part in slices.items() if name.startswith(("grams", "taken"))}
    assert found == {
        "grams=0 to 9": (0, 1),
        "grams=9 to 18": (),
        "grams=18 to 27": (),
        "grams=27 to 34.5": (2,),
    }


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (None, "place=fridge", "'place=fridge' needs .*metadata.csv, which is not there"),
        (TABLE, "palce=table", "needs a column 'palce' in .*metadata.csv; nearest is 'place'"),
        (TABLE, "taken=1.5.", "the column has 24 values, more than 20, and '0.5.' is no number"),
        (TABLE.replace("image", "photo", 1), "dark", "needs a column 'image'"),
    ],
)
def test_a_protected_slice_that_the_metadata_cannot_have_is_refused(tmp_path, content, name, words):
    if content:
        (tmp_path / "metadata.csv").write_text(content)
    with pytest.raises(InvalidInput, match=words):
        check_metadata_slices([name], tmp_path)


def test_a_value_that_no_row_has_is_a_note_and_no_error(tmp_path):
    (tmp_path / "metadata.csv").write_text(TABLE)
    [note] = check_metadata_slices(["dark", "place=fridge", "place=table", "grams=0 to 7.5"], tmp_path)
    assert note.startswith("gate.slices: 'place=fridge' will not be judged, no row of ")

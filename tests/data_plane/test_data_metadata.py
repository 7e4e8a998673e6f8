"""A ``metadata.csv`` in the data: what of it is not used is said when the data is converted."""

import pytest

from hakka.data.convert import convert
from hakka.data.metadata import find_rows, read_metadata
from hakka.errors import InvalidInput


def notes(report):
    return [item["reason"] for item in report["findings"] if item["reason"].startswith("metadata.csv")]


def test_rows_that_name_no_photo_and_rows_of_one_photo_are_told(write_coco, tmp_path):
    source = write_coco(4)
    rows = ["images/000.jpg;fridge", "001.jpg;table", "1.jpg;table", "gone.jpg;table", "000.jpg;shelf"]
    (source / "metadata.csv").write_text("\n".join(["image;place", *rows]))
    assert notes(convert(source, tmp_path / "out")) == [
        "metadata.csv: 2 of 5 rows name no photo of the dataset, such as '1.jpg'",
        "metadata.csv: 1 photo has several rows, such as 'images/000.jpg'; the last one counts",
    ]
    metadata = read_metadata(source)
    found, _ = find_rows(metadata, [f"images/00{i}.jpg" for i in range(4)])
    assert {image: metadata.columns["place"][row] for image, row in found.items()} == {
        "images/000.jpg": "shelf",
        "images/001.jpg": "table",
    }


def test_a_name_that_two_photos_have_means_neither(write_coco):
    source = write_coco(2)
    (source / "metadata.csv").write_text("image,place\n0.jpg,table\nb/0.jpg,fridge\n")
    found, told = find_rows(read_metadata(source), ["a/0.jpg", "b/0.jpg"])
    assert found == {"b/0.jpg": 1}
    assert told == ["metadata.csv: 1 of 2 rows names no photo of the dataset, such as '0.jpg'"]


def test_columns_of_many_values_are_told_with_their_ranges_or_why_they_make_no_slices(write_coco, tmp_path):
    source = write_coco(24)
    rows = [f"{i:03}.jpg;{i},5;photo {i};table" for i in range(24)]
    (source / "metadata.csv").write_text("\n".join(["image;grams;title;place", *rows]))
    ranges = "'grams=0.5 to 5.5', 'grams=5.5 to 11.5', 'grams=11.5 to 17.5', 'grams=17.5 to 23.5'"
    assert notes(convert(source, tmp_path / "out")) == [
        "metadata.csv: column 'title' makes no slices: it has 24 values, more than 20, and 'photo 0' is no number",
        f"metadata.csv: column 'grams' holds many numbers, its slices are {ranges}",
    ]


def test_numbers_that_are_mostly_the_same_have_fewer_ranges(tmp_path):
    rows = [f"{i}.jpg,{max(i - 60, 0)}" for i in range(90)]
    (tmp_path / "metadata.csv").write_text("\n".join(["image,grams", *rows]))
    assert read_metadata(tmp_path).ranges == {"grams": ("0 to 7", "7 to 29")}
    rows = [f"{i}.jpg,1.{'0' * i}" for i in range(21)]
    (tmp_path / "metadata.csv").write_text("\n".join(["image,grams", *rows]))
    assert read_metadata(tmp_path).columns == {"grams": ("1",) * 21}


def test_empty_lines_above_the_head_are_passed_over(tmp_path):
    (tmp_path / "metadata.csv").write_text("\n\nimage,place\na.jpg,table\n")
    assert read_metadata(tmp_path).columns == {"place": ("table",)}


def test_a_table_that_cannot_be_read_is_refused_before_the_photos_are_looked_at(write_coco, tmp_path):
    source = write_coco(2)
    (source / "metadata.csv").write_text("photo;place\n000.jpg;table\n")
    looked = []
    with pytest.raises(InvalidInput, match=r"metadata\.csv: needs a column 'image', got 'photo', 'place'"):
        convert(source, tmp_path / "out", progress=lambda done, total: looked.append(done))
    assert not looked
    assert not (tmp_path / "out").exists()

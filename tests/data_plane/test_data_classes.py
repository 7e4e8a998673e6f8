"""classes.yaml: what a user writes there, what becomes of the boxes, and what is said about the rest."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from data_pictures import coco, draw
from hypothesis import given, settings
from hypothesis import strategies as st

from hakka.boxes import cxcywh_to_xyxy
from hakka.cli import main
from hakka.data.classes import ClassMap, apply_class_map, find_class_map, read_class_map
from hakka.data.convert import convert
from hakka.data.dataset import load_dataset
from hakka.data.formats import FORMATS, Annotations, SourceImage, read_annotations
from hakka.data.name_advice import Adviser
from hakka.errors import InvalidInput

EPICURE = Path(__file__).resolve().parents[3] / "shared/data/epicure_ingredients"
FOODS = """
classes:
  milk: [mik, Milk]
  goat cheese: ["cured_ goat_cheese"]
  egg: []
drop: [hand]
"""


def write(folder: Path, text: str | bytes, name: str = "classes.yaml") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def annotations(*names: str, boxes: int = 1) -> Annotations:
    """One image a class, each with ``boxes`` boxes of it."""
    images = tuple(
        SourceImage(
            f"{i}.jpg",
            None,
            np.array([[i, 1, 2, 3, 4]] * boxes, dtype=float).reshape(-1, 5),
            tuple(range(boxes)),
            "pixels",
        )
        for i in range(len(names))
    )
    return Annotations("coco", ("a.json",), names, images, len(images), len(images) * boxes)


def mapped(path: Path, text: str, *names: str) -> tuple[dict[str, str | None], list[str]]:
    """Source name → name of its box after mapping (None: refused), and all reasons."""
    source = annotations(*names)
    result = apply_class_map(source, read_class_map(write(path, text)))
    became = {
        name: result.names[int(image.boxes[0, 0])] if len(image.boxes) else None
        for name, image in zip(names, result.images, strict=True)
    }
    refused = sum(finding.boxes for finding in result.findings if finding.kind in ("refused", "dropped"))
    assert refused + sum(len(image.boxes) for image in result.images) == source.boxes_found
    return became, [finding.reason for finding in result.findings]


def test_aliases_become_canonical_and_the_order_is_that_of_the_file(tmp_path):
    source = annotations("plate", "egg", "mik", "cured_ goat_cheese", "Milk", "milk")
    result = apply_class_map(source, read_class_map(write(tmp_path, FOODS)))
    assert result.names == ("milk", "goat cheese", "egg", "plate")
    assert [int(image.boxes[0, 0]) for image in result.images] == [3, 2, 0, 1, 0, 0]
    assert [finding.reason for finding in result.findings] == [
        "1 class not in classes.yaml is kept as it is: 'plate' (1 box)",
        "no class of this data is called 'hand', as classes.yaml has it",
        "1 of 3 classes is no ingredient that recipes know: 'goat cheese' (1 box)",
    ]


def test_boxes_of_a_dropped_class_are_refused_one_by_one(tmp_path):
    became, reasons = mapped(tmp_path, FOODS, "hand", "egg")
    assert became == {"hand": None, "egg": "egg"}
    assert reasons == [
        "no class of this data is called 'mik', 'Milk', 'cured_ goat_cheese', as classes.yaml has it",
        "box 0: the class 'hand' is dropped by classes.yaml",
    ]


def test_case_spaces_underscores_and_composed_letters_do_not_matter_and_are_said(tmp_path):
    text = "classes: {goat cheese: [], crème fraîche: [], 'Gruyère': []}\ndrop: [hand]"
    names = ("Goat_Cheese", "cre\u0300me_ fraîche", "GRUYÈRE ", "_Hand")
    became, reasons = mapped(tmp_path, text, *names)
    assert list(became.values()) == ["goat cheese", "crème fraîche", "Gruyère", None]
    assert reasons[0] == (
        "the class 'Goat_Cheese' is taken for 'goat cheese': it differs from a name in classes.yaml only in case, "
        "spaces or underscores"
    )
    assert len(reasons) == 6  # a note each, one for all that are no ingredient, and the box of the hand


def test_yaml_does_not_turn_names_into_something_else(tmp_path):
    became, _ = mapped(
        tmp_path, "classes: {no: [off, ~], 7: [1e3], x: , 2001-01-01: []}\ndrop:", "off", "~", "1e3", "x"
    )
    assert list(became.values()) == ["no", "no", "7", "x"]


def test_a_similar_name_that_could_mean_two_classes_is_taken_for_neither(tmp_path):
    became, reasons = mapped(tmp_path, "classes: {red pepper: [Pepper], black pepper: [PEPPER]}", "pepper", "PEPPER")
    assert became == {"pepper": "pepper", "PEPPER": "black pepper"}
    assert reasons == [
        "1 class not in classes.yaml is kept as it is: 'pepper' (1 box)",
        "the class 'pepper' could mean 'black pepper' or 'red pepper'",
    ]


@pytest.mark.parametrize(
    ("unmapped", "kept", "does"),
    [("keep", "spagetti", "are kept as they are"), ("refuse", None, "have their boxes refused")],
)
def test_unmapped_classes_are_kept_or_refused_and_listed_with_the_nearest_name(tmp_path, unmapped, kept, does):
    text = f"classes: {{egg: [], goat cheese: []}}\nunmapped: {unmapped}"
    names = ("egg", "eggcup", "spagetti", "cured_ goat_cheese")
    became, reasons = mapped(tmp_path, text, *names)
    assert became == {"egg": "egg", **{name: name if kept else None for name in names[1:]}}
    listed = "'spagetti' (1 box; nearest: 'spaghetti'), 'cured_ goat_cheese' (1 box; nearest: 'goat cheese'), "
    notes = [reason for reason in reasons if not reason.startswith("box")]
    assert notes == [f"3 classes not in classes.yaml {does}: {listed}'eggcup' (1 box)"]


def test_canonical_names_that_are_no_ingredient_are_listed(tmp_path):
    text = "classes: {tomat: [tomatoe, tom], plate: [dish], milk: [mik]}"
    became, reasons = mapped(tmp_path, text, "tomatoe", "tom", "dish", "mik")
    assert became == {"tomatoe": "tomat", "tom": "tomat", "dish": "plate", "mik": "milk"}
    assert reasons == [
        "2 of 3 classes are no ingredient that recipes know: 'tomat' (2 boxes; nearest: 'tomato'), 'plate' (1 box)"
    ]


def test_without_a_map_names_stay_and_those_that_are_no_ingredient_are_listed_once():
    source = annotations("tomato", "hand", "bredd", "Tomato", "cup 1", "cup 2", "widget", "widgett", "eggs", boxes=3)
    result = apply_class_map(source, None)
    assert (result.names, result.images) == (source.names, source.images)
    near = "'bredd' (3 boxes; nearest: 'bread'), 'widgett' (3 boxes; nearest: 'widget')"
    far = "'hand' (3 boxes), 'cup 1' (3 boxes), 'cup 2' (3 boxes), 'widget' (3 boxes)"
    assert [finding.reason for finding in result.findings] == [
        f"6 of 9 classes are no ingredient that recipes know: {near}, {far}",
        "classes of this data that look like one: 'Tomato' and 'tomato'",
    ]
    assert {finding.kind for finding in result.findings} == {"note"}


def test_nothing_is_said_of_ingredients():
    assert apply_class_map(annotations("tomato", "Bell_Pepper", "jalapeño", "sweet potatoes"), None).findings == ()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        *(("tamato", "tomato"), ("tometo", "tomato"), ("onian", "onion"), ("carrit", "carrot"), ("garlik", "garlic")),
        *(("patato", "potato"), ("bredd", "bread"), ("mik", "milk"), ("aple", "apple"), ("Brocolli", "broccoli")),
        *(("swet_potato", "sweet potato"), ("oil_olive", "olive oil"), ("cured_ feta_cheese", "feta")),
        *(("hand", None), ("Yumm Thing", None), ("fork", None), ("finger", None), ("dish", None), ("foil", None)),
        *(
            ("knife", None),
            ("cutting board", None),
            ("dining table", None),
            ("cup", None),
            ("tomato", None),
            ("", None),
        ),
    ],
)
def test_the_nearest_name_is_what_was_probably_meant(written, meant):
    assert Adviser([written]).nearest(written) == meant


def test_a_hundred_thousand_class_names_are_no_problem():
    names = [f"näme {i:x} of a thing" for i in range(100_000)]
    for class_map in (None, ClassMap("classes.yaml", ("milk",), {"milk": "milk"})):
        result = apply_class_map(annotations(*names, boxes=0), class_map)
        assert len(result.names) == len(names)
        assert len(result.findings) == 1
        assert len(result.findings[0].reason) < 100_000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("classes: {milk: [mik], oat milk: [mik]}", "'mik' is an alias of 'oat milk' and an alias of 'milk'"),
        ("classes: {milk: [egg], egg: []}", "'egg' is an alias of 'milk' and a class of its own"),
        ("classes: {milk: [hand]}\ndrop: [hand]", "'hand' is dropped and also a name of 'milk'"),
        ("classes: {milk: []}\ndrop: [milk]", "'milk' is dropped and also a name of 'milk'"),
        ("classes: {milk: [], milk: [mik]}", "a key must come once in a mapping, got 'milk' again in line 1"),
        ("classes: {'': []}", "a name must be text, got ''"),
        ("classes: {milk: [[mik]]}", "the aliases of 'milk': a name must be text, got ['mik']"),
        ("classes: {milk: ['  ']}", "got '  '"),
        ('classes: {milk: ["\\ud800"]}', "must be text"),
        ("classes: {milk: mik}", "the aliases of 'milk': must be a list of names, got 'mik'"),
        ("classes: {milk: {a: b}}", "must be a list of names"),
        ("classes: [milk]", "classes must be a mapping of names to their aliases, got ['milk']"),
        ("drop: hand", "drop: must be a list of names, got 'hand'"),
        ("classes: {milk: []}\nunmapped: maybe", "unmapped must be keep or refuse, got 'maybe'"),
        ("classes: {milk: []}\nunmapped: [keep]", "unmapped must be keep or refuse, got ['keep']"),
        ("clases: {milk: []}", "must be a mapping with the keys classes, drop, unmapped"),
        ("{}", "names no class"),
        ("", "must be a mapping"),
        ("- milk", "must be a mapping"),
        ("classes: {milk: [", "not valid YAML"),
        ("classes: !!python/object/apply:os.system ['true']", "classes must be a mapping"),
        ("{? {a: b} : c}", "not valid YAML"),
        (b"\xff\xfe\x00\xd8", "not valid YAML"),
        (b"\x00\x01", "not valid YAML"),
    ],
)
def test_a_file_that_contradicts_itself_or_is_none_is_one_sentence(tmp_path, text, words):
    path = write(tmp_path, text)
    with pytest.raises(InvalidInput) as caught:
        read_class_map(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert words in message
    assert "\n" not in message
    assert len(message) < len(str(path)) + 250


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nclasses: {milk: *c}",
        "a: &a {x: 1, y: 2}\nb: &b {<<: [*a, *a]}\nclasses: {<<: [*b, *b]}",
        "classes: " + "[" * 100_000,
        "classes: " + "{a: " * 10_000,
        "classes: {milk: [" + ", ".join(f"name{i}" for i in range(1_000_000)) + "]}",
        "classes: {" + "x" * 200_000 + ": 1}",
    ],
    ids=["aliases", "merge keys", "deep list", "deep mapping", "a million names", "a long name"],
)
def test_a_file_made_to_hurt_is_one_sentence(tmp_path, text):
    with pytest.raises(InvalidInput) as caught:
        read_class_map(write(tmp_path, text))
    assert len(str(caught.value)) < len(str(tmp_path)) + 300


def test_a_file_that_is_not_there_and_one_that_never_ends(tmp_path):
    with pytest.raises(InvalidInput, match="no such file of class names"):
        read_class_map(tmp_path / "classes.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(InvalidInput, match="regular file"):
        read_class_map(tmp_path / "pipe.yaml")


WORDS = [
    "classes",
    "drop",
    "unmapped",
    "keep",
    "refuse",
    "milk",
    "egg",
    "null",
    "1",
    "&a",
    "*a",
    "<<",
    "!!set",
    "é",
    "\x85",
]
PARTS = [*WORDS, ": ", "- ", "{", "}", "[", "]", ", ", "\n", "\n  ", "#", "'", '"', "? ", "|", ">", "%", "---", "\t"]


@settings(max_examples=300, deadline=None)
@given(text=st.one_of(st.binary(max_size=40), st.lists(st.sampled_from(PARTS), max_size=25).map("".join)))
def test_any_file_is_a_class_map_or_one_sentence(tmp_path_factory, text):
    path = write(tmp_path_factory.getbasetemp(), text, "fuzz.yaml")
    try:
        class_map = read_class_map(path)
    except InvalidInput as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        apply_class_map(annotations("milk", "egg", "plate"), class_map)


def test_the_file_is_found_at_the_top_of_the_source_only(tmp_path):
    (tmp_path / "deep").mkdir()
    write(tmp_path / "deep", FOODS)
    assert find_class_map(tmp_path) is None
    assert find_class_map(tmp_path / "deep") == tmp_path / "deep" / "classes.yaml"


NAMES = st.sampled_from(["a", "b", "c", "A", "b ", "d"])


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(NAMES, min_size=1, max_size=6, unique=True),
    counts=st.lists(st.lists(st.integers(0, 5), max_size=5), max_size=6),
    aliases=st.dictionaries(NAMES, st.sampled_from(["x", "y"]), max_size=4),
    drop=st.frozensets(NAMES, max_size=2),
    unmapped=st.sampled_from(["keep", "refuse"]),
)
def test_every_box_is_kept_where_it_was_or_refused(names, counts, aliases, drop, unmapped):
    rng = np.random.default_rng(len(names))
    images = []
    for i, labels in enumerate(counts):
        boxes = rng.uniform(0, 90, (len(labels), 5))
        boxes[:, 0] = [label % len(names) for label in labels]
        boxes.setflags(write=False)
        images.append(SourceImage(f"{i}.jpg", None, boxes, tuple(range(100, 100 + len(labels))), "pixels"))
    source = Annotations("coco", (), tuple(names), tuple(images), len(images), sum(map(len, counts)))
    written = {**{"x": "x", "y": "y"}, **aliases}
    class_map = ClassMap("classes.yaml", ("x", "y"), written, drop - written.keys(), unmapped)
    result = apply_class_map(source, class_map)
    assert len(set(result.names)) == len(result.names)
    refused = {(finding.image, finding.box) for finding in result.findings if finding.kind in ("refused", "dropped")}
    for before, after in zip(images, result.images, strict=True):
        kept = dict(zip(after.places, after.boxes.tolist(), strict=True))
        for place, box in zip(before.places, before.boxes.tolist(), strict=True):
            name = names[int(box[0])]
            assert (place in kept) != ((before.image, place) in refused)
            if place in kept:
                assert kept[place][1:] == box[1:]
                if name in written:
                    assert result.names[int(kept[place][0])] == written[name]
            else:
                assert name not in written


def test_convert_finds_the_file_in_the_source_and_prefers_the_one_that_is_named(write_coco, tmp_path):
    source = write_coco(4)  # its one used class is "apple", the other is "mik"
    write(source, "classes: {fruit: [apple], milk: [mik]}")
    convert(source, tmp_path / "a")
    assert load_dataset(tmp_path / "a").names == ("fruit", "milk")
    convert(source, tmp_path / "b", classes=write(tmp_path, "classes: {pome: [apple]}\ndrop: [mik]", "mine.yaml"))
    assert load_dataset(tmp_path / "b").names == ("pome",)


def test_the_options_of_the_verb(write_coco, tmp_path, capsys):
    source = write_coco(12)
    (source / "annotations.json").rename(source / "instances_train.json")  # nothing of val or test
    names = write(tmp_path, "classes: {fruit: [apple]}\nunmapped: refuse", "names.yaml")
    options = ["--out", str(tmp_path / "out"), "--classes", str(names), "--keep-source-split", "--format", "coco"]
    assert main(["convert", str(source), *options, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["classes"] == {"fruit": 12}
    assert {split: counts["images"] for split, counts in report["splits"].items()} == {"train": 12, "val": 0, "test": 0}
    assert main(["convert", str(source), *options[:2], "--classes", str(tmp_path / "none.yaml")]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'none.yaml'}: no such file of class names\n"


def test_the_file_that_the_readme_shows_does_what_it_says(tmp_path):
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    blocks = [block.partition("```")[0] for block in readme.split("```yaml\n")[1:]]
    shown = next(block for block in blocks if block.startswith("classes:"))
    became, _ = mapped(tmp_path, shown, "mik", "Milk", "cured_ goat_cheese", "Goat_cheese", "egg", "hand", "plate")
    assert became == {
        "mik": "milk",
        "Milk": "milk",
        "cured_ goat_cheese": "goat cheese",
        "Goat_cheese": "goat cheese",
        "egg": "egg",
        "hand": None,
        "plate": "plate",
    }


def test_the_help_names_every_format(capsys):
    with pytest.raises(SystemExit):
        main(["convert", "--help"])
    words = set(capsys.readouterr().out.replace(",", " ").split())
    assert set(FORMATS) <= words


def test_a_class_that_is_dropped_leaves_a_background_and_counts_that_add_up(source, tmp_path):
    for i in range(4):
        draw(source / f"{i}.jpg", i)
    images = [{"id": i, "file_name": f"{i}.jpg"} for i in range(4)]
    boxes = [{"image_id": i, "category_id": 10 * (1 + i % 2), "bbox": [8, 8, 20, 20]} for i in range(4)]
    (source / "a.json").write_text(json.dumps(coco(images, boxes, ("egg", "hand"))))
    write(source, FOODS)
    report = convert(source, tmp_path / "out")
    assert report["boxes"] == {"found": 4, "converted": 2, "clipped": 0, "refused": 0, "dropped": 2}
    assert report["images"]["converted"] == 4
    assert load_dataset(tmp_path / "out").names == ("egg",)


@pytest.mark.skipif(not EPICURE.is_dir(), reason="needs ../shared/data/epicure_ingredients")
def test_the_odd_names_of_real_data_become_ingredients_and_no_box_moves(tmp_path):
    path = write(
        tmp_path,
        """
        classes:
          milk: [mik]
          goat cheese: ["cured_ goat_cheese"]
          almond milk: [milk_almond]
          oat milk: []          # the source writes oat_milk
          rolled oats: [oat]
          spaghetti: [spagetti]
          cheese: []
        drop: [olive_oil]
        """,
    )
    before = read_annotations(EPICURE)
    counts = np.bincount(np.concatenate([image.boxes[:, 0] for image in before.images]).astype(int))
    boxes = dict(zip(before.names, counts.tolist(), strict=True))
    report = convert(EPICURE, tmp_path / "out", classes=path)
    dataset = load_dataset(tmp_path / "out")
    assert dataset.names[:7] == ("milk", "goat cheese", "almond milk", "oat milk", "rolled oats", "spaghetti", "cheese")
    assert set(dataset.names[7:]) == {
        *("avocado", "banana", "carrot", "courgette", "egg", "potato", "quinoa", "rice", "salmon", "sweet_potato"),
        "tomato",
    }
    assert report["classes"]["milk"] == boxes["mik"] == 3
    assert report["classes"]["goat cheese"] == boxes["cured_ goat_cheese"]
    assert report["classes"]["oat milk"] == boxes["oat_milk"]
    assert report["boxes"]["dropped"] == boxes["olive_oil"]
    assert report["boxes"]["converted"] == sum(counts) - boxes["olive_oil"]
    image = before.images[0]
    entry = next(entry for entry in dataset.entries if entry.image == image.image)
    labels = dataset.labels(entry)
    kept = [row for row in image.boxes.tolist() if before.names[int(row[0])] != "olive_oil"]
    pixels = cxcywh_to_xyxy(labels[:, 1:], entry.width, entry.height)
    assert np.allclose(sorted(pixels.tolist()), sorted(row[1:] for row in kept), atol=1e-3)

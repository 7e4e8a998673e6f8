"""Model card and dataset card: foreign text stays text, what is not known is left out."""

import re

import pytest

from hakka.cards import dataset_card, model_card, version_card

HOSTILE = (
    "<script>alert(1)</script>",
    "| a |",
    "[x](javascript:alert(1))",
    "![x](http://example.org/x.png)",
    "**bold** _it_ `code`",
    "a\n# heading\n<img src=x>",
    "&lt;b&gt;",
    "http://example.org",
    "\\",
)
ROW = {"ap50": 0.5, "ap": 0.25, "precision": None, "recall": 0.75, "f1": None, "instances": 3}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_class_name_shows_as_text_in_both_forms(name):
    record = {"data": name, "metrics": {"version": "0123456789ab", "per_class": {name: ROW}}}
    splits = {"train": {"images": 1, "boxes": 2, "scenes": 1, "classes": {name: 2}}}
    finding = {"kind": "refused", "reason": name}
    check = {"name": name, "about": name, "severity": "warning", "passed": False, "note": "", "findings": [finding]}
    conversion = {"splits": splits, "classes": {name: 2}, "annotations": [name], "findings": [finding]}
    for card in (model_card(record), dataset_card(record, conversion, {"checks": [check]})):
        text = " ".join(name.split())
        assert texts_of(card.html).count(text) >= 2
        assert set(re.findall(r"<(\w+)", card.html)) <= {
            *("html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "ul", "li", "strong", "em"),
            *("table", "thead", "tbody", "tr", "th", "td", "pre", "code"),
        }
        assert "<em>" not in card.html
        assert "<a" not in card.html
        widths = [len(re.findall(r"(?<!\\)\|", line)) for line in card.markdown.splitlines() if line.startswith("|")]
        assert set(widths) <= {4, 5, 6, 10}
        assert not re.search(r"(?<!\\)<", card.markdown)


def texts_of(page):
    """What a reader sees, with every piece of markup a line end."""
    from html import unescape

    return unescape(re.sub(r"</?[a-z][^>]*>", "\n", page))


def test_what_is_not_known_is_left_out():
    assert "mAP50" not in model_card({}).markdown
    assert "None" not in model_card({}).markdown
    assert model_card({}).markdown.count("## ") == 1
    assert dataset_card({}, {}, {}).markdown.count("## ") == 1
    assert "<h1>Dataset card" in dataset_card({}, {}, {}).html


def test_a_version_without_its_run_has_what_its_own_record_holds():
    version = {
        "version": "0123456789ab",
        "imgsz": 320,
        "precision": "int8",
        "thresholds": {"confidence": 0.25, "iou": 0.5},
        "data": {"source": "/photos", "revision": "r1", "digest": "d" * 64},
        "code": {"version": "0.1.0", "commit": "abc"},
        "metrics": {"map50": 0.5, "map50_95": 0.25, "images": 3, "boxes": 9, "per_class": {"egg": ROW}},
        "kfp_run": "run-1",
        "created": "2026-01-01T00:00:00+00:00",
    }
    card = version_card(version, {}).markdown
    for fact in ("**mAP50**: 0.500", "**Precision**: int8", "commit of the code**: abc", "**Run**: run-1", "/photos"):
        assert fact in card
    assert "hakka predict photo.jpg --model 0123456789ab" in card
    assert "## The gate" not in card


def test_variants_and_missed_allergens_are_tables():
    row = {"title": "imgsz=320", "map50": 0.5, "map50_95": 0.3, "ms": 9.5, "within_budget": True, "chosen": True}
    variants = {"compared": [row, {**row, "title": "a|b", "chosen": False}]}
    judged = {"right": 0.5, "missed_allergens": {"nuts": 2}}
    impact = {"images": 7, "challenger": judged, "champion": {"right": 0.4, "missed_allergens": {"milk": 1}}}
    card = model_card({"variants": variants, "impact": impact}).markdown
    assert "| imgsz=320 | 0.500 | 0.300 | 9.5 | chosen |\n| a\\|b | 0.500" in card
    assert "| milk | 0 | 1 |\n| nuts | 2 | 0 |" in card
    assert "nuts on 2" in card


def test_variants_of_several_machines_say_where_each_was_measured_and_why_none_was_taken():
    rows = [
        {
            "title": title,
            "map50": 0.5,
            "map50_95": 0.3,
            "ms": 9.5,
            "within_budget": True,
            "chosen": False,
            "where": where,
        }
        for title, where in (("a", "a laptop"), ("b", "a server"))
    ]
    card = model_card({"variants": {"compared": rows, "refusal": "on two machines", "latency_budget_ms": 7.0}}).markdown
    assert "| a | 0.500 | 0.300 | 9.5 | – | a laptop |\n| b | 0.500 | 0.300 | 9.5 | – | a server |\n\non two" in card


def test_the_gate_lists_the_protected_slices_that_it_judged_and_those_that_it_could_not():
    judged = {"dark": {"boxes": 60, "low": -0.1, "high": 0.2, "passed": True}}
    numbers = {"slice_boxes": 50, "slices": judged, "small_slices": {"small boxes": 2}}
    card = model_card({"decision": "keep", "reason": "why", "numbers": numbers}).markdown
    assert "| dark | 60 | -0.100 | 0.200 | yes |\n| small boxes | 2 | – | – | too few boxes |" in card

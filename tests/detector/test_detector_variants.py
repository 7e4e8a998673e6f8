"""The variants of a run: what may be asked for, and which of those that were trained is taken."""

import json

import pytest

from hakka.detector.train import TrainParams
from hakka.detector.variants import (
    MOST_VARIANTS,
    OWN,
    SETTINGS,
    choose,
    comparison_rows,
    export_params,
    list_variants,
    read_comparison,
    settings_of,
    share_trainings,
    train_params,
)
from hakka.errors import InvalidInput
from hakka.files import sha256_file, write_json
from hakka.params import read_section
from pipelines.__main__ import main

PARAMS = read_section(TrainParams, "train")


def test_without_a_list_the_runs_own_settings_are_the_one_variant():
    [variant] = list_variants(PARAMS, "fp32", [])
    assert variant["title"] == ""
    assert train_params(variant["training"], "cpu") == read_section(TrainParams, "train", device="cpu")
    assert export_params(variant).precision == "fp32"


def test_a_variant_overrides_what_it_names_and_is_called_by_it():
    entries = [{}, {"imgsz": 416}, {"augment": {"fliplr": 0.5}, "precision": "int8"}, {"weights": "/w/yolo26s.pt"}]
    variants = list_variants(PARAMS, "fp32", entries)
    titles = ["", "imgsz=416", "fliplr=0.5, precision=int8", "weights=yolo26s.pt"]
    assert [variant["title"] for variant in variants] == titles
    assert [variant["training"]["label"] for variant in variants] == [*titles[:2], "fliplr=0.5", titles[3]]
    assert train_params(variants[1]["training"], "cpu").imgsz == 416
    assert export_params(variants[2]).precision == "int8"
    assert set(settings_of(variants[3])) == set(SETTINGS)


def test_numbers_that_came_back_from_kfp_as_floats_are_the_same_variant():
    entry = {"imgsz": 320.0, "learning_rate": 0, "augment": {"degrees": 10.0}}
    [variant] = list_variants(PARAMS, "fp32", [entry])
    assert (
        variant == list_variants(PARAMS, "fp32", [{"imgsz": 320, "learning_rate": 0.0, "augment": {"degrees": 10}}])[0]
    )
    training = variant["training"]
    floats = {key: float(value) if isinstance(value, int) else value for key, value in training.items()}
    assert train_params(floats, "cpu") == train_params(training, "cpu")


def test_variants_that_are_trained_alike_have_one_training_and_come_after_those_that_need_another():
    alike = [
        {"precision": "int8"},
        {"imgsz": PARAMS.imgsz},
        {"seed": 1},
        {"imgsz": 416, "precision": "int8"},
        {"imgsz": 416},
    ]
    shared = share_trainings(list_variants(PARAMS, "fp32", alike))
    assert [(variant["title"], variant["training"]["label"]) for variant in shared] == [
        ("precision=int8", ""),
        ("seed=1", "seed=1"),
        ("imgsz=416, precision=int8", "imgsz=416"),
        (f"imgsz={PARAMS.imgsz}", ""),
        ("imgsz=416", "imgsz=416"),
    ]
    assert (shared[3]["training"], shared[4]["training"]) == (shared[0]["training"], shared[2]["training"])


@pytest.mark.parametrize(
    ("variants", "words"),
    [
        ({"imgsz": 320}, "variants must be a list of mappings"),
        ([320], "variants, entry 1: must be a mapping of settings, got 320"),
        ([{}, {"size": 320}], "variants, entry 2: 'size' is not a setting; known are weights, model"),
        ([{"imgsz": 33}], "variants, entry 1: train.imgsz must be a multiple of 32, got 33"),
        ([{"imgsz": "320"}], "variants, entry 1: imgsz must be a whole number, got '320'"),
        ([{"seed": None}], "variants, entry 1: seed must be a whole number, got None"),
        ([{"mosaic": True}], "variants, entry 1: mosaic must be a number, got True"),
        ([{"augment": 1}], "variants, entry 1: augment must be a mapping, got 1"),
        ([{"augment": {"zoom": 1}}], "entry 1: train.augment maps .* got 'zoom': 1"),
        ([{"precision": "int4"}], "variants, entry 1: precision must be fp32 or int8, got 'int4'"),
        ([{"imgsz": 64}, {"imgsz": 64.0}], "variants: entries 1 and 2 must differ"),
        ([{}, {"imgsz": PARAMS.imgsz}], "variants: entries 1 and 2 must differ"),
        (
            [{}] * (MOST_VARIANTS + 1),
            f"variants must be at most {MOST_VARIANTS}, each is a training, got {MOST_VARIANTS + 1}",
        ),
    ],
)
def test_a_wrong_variant_is_one_sentence(variants, words):
    with pytest.raises(InvalidInput, match=words):
        list_variants(PARAMS, "fp32", variants)


def test_the_most_variants_may_be_asked_for_and_the_help_tells_how_many_those_are(capsys):
    assert len(list_variants(PARAMS, "fp32", [{"seed": seed} for seed in range(MOST_VARIANTS)])) == MOST_VARIANTS
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    assert f"at most {MOST_VARIANTS}" in " ".join(capsys.readouterr().out.split())


def made(folder, title, map50, ms, where="openvino on one CPU"):
    """Three folders as training, export and evaluation leave them."""
    checkpoint, model, evaluation = (folder / title / name for name in ("checkpoint", "model", "evaluation"))
    for path in (checkpoint, model, evaluation):
        path.mkdir(parents=True)
    for path in (checkpoint, model):
        (path / "weights.safetensors").write_text(title)
    digest = sha256_file(checkpoint / "weights.safetensors")
    version = digest[:12]
    write_json(model / "model.json", {"version": version, "files": {"weights.safetensors": digest}})
    write_json(evaluation / "metrics.json", {"version": version, "map50": map50, "map50_95": map50 / 2})
    write_json(evaluation / "speed.json", {"ms": ms, "ms_p95": 2 * ms, "where": where})
    [variant] = list_variants(PARAMS, "fp32", [])
    write_json(evaluation / "variant.json", variant | {"title": title})
    return checkpoint, model, evaluation


def chosen(folder, budget, *variants):
    """The comparison of made variants, with the lists of folders in different orders, and where the best was put."""
    checkpoints, models, evaluations = zip(*(made(folder, *variant) for variant in variants), strict=True)
    outs = [folder / "best" / name for name in ("checkpoint", "model", "evaluation", "table.md")]
    return choose(checkpoints[::-1], models, evaluations, budget, outs), outs


def test_the_best_is_taken_whole_whatever_the_order_of_the_lists(tmp_path):
    comparison, outs = chosen(tmp_path, 0.0, ("small", 0.5, 3.0), ("large", 0.6, 9.0), ("middle", 0.55, 6.0))
    assert [row["title"] for row in comparison["compared"]] == ["large", "middle", "small"]
    assert comparison["candidates"] == 3
    assert comparison["refusal"] == ""
    assert [(out / "weights.safetensors").read_text() for out in outs[:2]] == ["large", "large"]
    assert json.loads((outs[2] / "metrics.json").read_text())["map50"] == 0.6
    assert read_comparison(outs[2]) == comparison
    assert "| large | 0.600 | 0.300 | 9.0 | chosen |" in outs[3].read_text()


def test_a_variant_above_the_latency_budget_is_not_taken(tmp_path):
    comparison, outs = chosen(tmp_path, 7.0, ("small", 0.5, 3.0), ("large", 0.6, 9.0), ("middle", 0.55, 7.0))
    assert (outs[0] / "weights.safetensors").read_text() == "middle"
    assert comparison["candidates"] == 2
    assert comparison_rows(comparison)[0][1].endswith("9.0 ms a photo, above the budget of 7 ms")
    assert comparison_rows(comparison)[1][1].endswith("7.0 ms a photo, chosen")


def test_of_equals_the_faster_one_is_taken(tmp_path):
    _, outs = chosen(tmp_path, 0.0, ("slow", 0.5, 5.0), ("fast", 0.5, 4.0))
    assert (outs[1] / "weights.safetensors").read_text() == "fast"


def test_a_latency_budget_is_not_held_against_variants_of_different_machines(tmp_path):
    variants = ("small", 0.5, 3.0, "a laptop"), ("large", 0.6, 9.0, "a server")
    comparison, outs = chosen(tmp_path, 7.0, *variants)
    assert comparison["refusal"] == (
        "for a latency budget all variants must be measured on one kind of machine, but some were on a laptop, "
        "others on a server; without HAKKA_HOME/cache all are made anew"
    )
    assert (outs[0] / "weights.safetensors").read_text() == "large"
    assert [line for _, line in comparison_rows(comparison)] == [
        "mAP50 0.600, mAP50-95 0.300, 9.0 ms a photo on a server, chosen",
        "mAP50 0.500, mAP50-95 0.250, 3.0 ms a photo on a laptop",
    ]
    head, *_, small = [line for line in outs[3].read_text().splitlines() if line.startswith("|")]
    assert head == "| variant | mAP50 | mAP50-95 | ms a photo | verdict | measured on |"
    assert small == "| small | 0.500 | 0.250 | 3.0 | – | a laptop |"


def test_without_a_budget_variants_of_different_machines_are_compared_by_what_they_find(tmp_path):
    comparison, outs = chosen(tmp_path, 0.0, ("first", 0.5, 9.0, "a laptop"), ("second", 0.5, 3.0, "a server"))
    assert comparison["refusal"] == ""
    assert (outs[0] / "weights.safetensors").read_text() == "first"


def test_where_none_is_fast_enough_the_fastest_and_the_budget_are_named(tmp_path):
    comparison, outs = chosen(tmp_path, 2.0, ("small", 0.5, 3.0), ("large", 0.6, 9.0))
    sentence = "no variant is within the latency budget of 2 ms a photo: the fastest, small, takes 3.0 ms"
    assert comparison["refusal"] == sentence
    assert "N" + sentence[1:] in outs[3].read_text()
    assert "| small | 0.500 | 0.250 | 3.0 | chosen, above the latency budget |" in outs[3].read_text()


def test_the_runs_own_settings_have_a_name_among_others_and_a_pipe_does_not_break_the_table(tmp_path):
    _, outs = chosen(tmp_path, 0.0, ("a|b", 0.5, 5.0))
    assert "| a\\|b | 0.500 |" in outs[3].read_text()
    evaluation = tmp_path / "a|b" / "evaluation"
    write_json(evaluation / "variant.json", {**json.loads((evaluation / "variant.json").read_text()), "title": ""})
    folders = ([tmp_path / "a|b" / "checkpoint"], [tmp_path / "a|b" / "model"], [evaluation])
    assert choose(*folders, 0.0, outs)["compared"][0]["title"] == OWN


def test_folders_of_different_runs_are_refused(tmp_path):
    checkpoint, model, _ = made(tmp_path, "one", 0.5, 1.0)
    *_, evaluation = made(tmp_path, "other", 0.5, 1.0)
    with pytest.raises(InvalidInput, match="must be among those that were trained"):
        choose([checkpoint], [model], [evaluation], 0.0, [tmp_path / str(i) for i in range(4)])


def test_an_evaluation_that_nothing_was_chosen_from_has_no_comparison(tmp_path):
    assert read_comparison(tmp_path) == {}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"augment": {"degrees": float("nan")}}, "to numbers, got 'degrees': nan"),
        ({"augment": {1: 2, "scale": 0.5}}, "to numbers, got 1: 2"),
        ({"weights": "\ud800"}, r"weights must be UTF-8, got '\\ud800'"),
        ({"k" * 100_000: 1}, "is not a setting"),
    ],
)
def test_a_setting_made_to_hurt_is_one_short_sentence(entry, words):
    with pytest.raises(InvalidInput, match=words) as caught:
        list_variants(read_section(TrainParams, "train"), "fp32", [entry])
    assert len(str(caught.value)) < 400

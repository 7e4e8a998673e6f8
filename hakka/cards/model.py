"""The model card: what a detector is, what it was made from, how good it is and what it must not be used for."""

from collections.abc import Mapping
from typing import Any

from hakka.cards.markdown import Card, code, escape, facts, join, section, show, table
from hakka.data.split import SPLITS

LICENCE = "AGPL-3.0-only, as that of ultralytics, by which it was trained"
LIMITS = """\
- **For**: naming food on photos, so that recipes can be proposed. A person checks the answer before anyone eats by it.
- **Not for**: deciding that something is safe to eat. A photo rules out no allergen: what is hidden, mixed in, cooked
  or small is not seen, and what is seen may be named wrongly.
- It knows its own classes only, and may call anything else by one of their names.
- The figures are those of the test photos. Where photos look otherwise (other kitchens, cameras) expect worse."""

Record = Mapping[str, Any]


def model_card(record: Record) -> Card:
    """The card of the detector of a run, from the run's record; what the record does not hold is left out."""
    model, metrics = _part(record, "model"), _part(record, "metrics")
    parts = (
        _summary(record, model, metrics),
        section("Intended use and limits", "\n".join([LIMITS, *_own_limits(record, metrics)])),
        section("Training data", *_data(record)),
        section("Training", *_training(_part(record, "training"))),
        section("How good it is", *_quality(metrics)),
        section("Slices of the test photos", _slices(_part(metrics, "slices"))),
        section("Calibration", *_calibration(_part(metrics, "calibration"))),
        section("Variants", *_variants(_part(record, "variants"))),
        section("The gate", *_gate(record)),
        section("Recipes and allergens", *_impact(_part(record, "impact"))),
        section("Files", *_files(model)),
        section("Where it comes from", _lineage(record, model)),
        section("How to call it", *_call(record, metrics)),
    )
    return Card(f"Model card: {model.get('name') or 'detector'} {metrics.get('version') or ''}".strip(), join(*parts))


def version_card(version: Record, run: Record) -> Card:
    """The card of a registered version, from its record and that of the run that made it, which may be empty.

    What both say is taken from the version, whose record has a digest.
    """
    known = {
        "data": _part(version, "data").get("source"),
        "data_revision": _part(version, "data").get("revision"),
        "dataset": {**_part(run, "dataset"), "digest": _part(version, "data").get("digest")},
        "commit": _part(version, "code").get("commit"),
        "run": version.get("kfp_run"),
        "metrics": {
            **_part(version, "thresholds"),
            **_part(run, "metrics"),
            **_part(version, "metrics"),
            "version": version.get("version"),
        },
    }
    return model_card({**run, **known, "model": version, "version": version.get("version")})


def _part(record: Record, name: str) -> Record:
    """A mapping within a record, empty where there is none."""
    value = record.get(name)
    return value if isinstance(value, Mapping) else {}


def _summary(record: Record, model: Record, metrics: Record) -> str:
    speed = _part(record, "speed")
    latency = f"{speed['ms']:.3f} ms a photo, 95 % within {speed['ms_p95']:.3f} ms" if "ms_p95" in speed else None
    return facts(
        {
            "What it is": "an object detector (YOLO): boxes, names and confidences for the food on a photo",
            "Version": metrics.get("version"),
            "Classes": len(metrics["per_class"]) if metrics.get("per_class") else None,
            "Input": _input(model) if "imgsz" in model else None,
            "Parameters": _part(record, "training").get("parameters"),
            "mAP50": metrics.get("map50"),
            "mAP50-95": metrics.get("map50_95"),
            "Measured on": f"{metrics['images']} test images with {metrics['boxes']} boxes"
            if "boxes" in metrics
            else None,
            "Latency, from pixels to boxes": latency,
            "Latency measured with": speed.get("where"),
            "Licence": LICENCE,
        }
    )


def _input(model: Record) -> str:
    if "stride" not in model:
        return f"a square of {model['imgsz']} pixels, into which photos are fitted"
    return f"photos of {model['imgsz']} pixels on the longer side, the shorter one in steps of {model['stride']}"


def _own_limits(record: Record, metrics: Record) -> list[str]:
    """What its evaluation says about this model's limits, as lines of a list."""
    untested = [name for name, row in _part(metrics, "per_class").items() if not row.get("instances")]
    missed = _part(_part(_part(record, "impact"), "challenger"), "missed_allergens")
    lines = []
    if untested:
        names = ", ".join(map(escape, untested))
        lines.append(f"- Nothing is known about {len(untested)} of its classes, which no test photo shows: {names}.")
    if missed:
        counts = ", ".join(f"{escape(name)} on {count}" for name, count in missed.items())
        lines.append(f"- Allergens that were there and that it did not see, by the number of test photos: {counts}.")
    return lines


def _data(record: Record) -> list[str]:
    dataset, counts = _part(record, "dataset"), _part(record, "counts")
    images, boxes = _part(dataset, "images"), _part(dataset, "boxes")
    rows = [(split, images.get(split), boxes.get(split)) for split in SPLITS if split in images]
    refused = f"{counts['refused_images']} images, {counts['refused_boxes']} boxes" if "refused_boxes" in counts else ""
    return [
        facts(
            {
                "Source": record.get("data"),
                "Revision": record.get("data_revision"),
                "Digest of the dataset": dataset.get("digest"),
                "Refused": refused,
                "Boxes that were clipped": counts.get("clipped"),
            }
        ),
        table(("split", "images", "boxes"), rows),
    ]


def _training(training: Record) -> list[str]:
    settings = _part(training, "params")
    return [
        facts(
            {
                "Started from": training.get("start"),
                "Epochs": training.get("epochs"),
                "Took": f"{training['seconds']:.0f} s" if "seconds" in training else None,
                "Best mAP50 on the val images": training.get("best_val_map50"),
                "SHA-256 of the weights": _part(training, "weights").get("sha256"),
            }
        ),
        table(("setting", "value"), [(name, str(value)) for name, value in settings.items()]),
    ]


def _quality(metrics: Record) -> list[str]:
    columns = ("instances", "ap50", "ap", "precision", "recall", "f1", "best_confidence", "best_f1")
    head = ("class", "boxes", "AP50", "AP50-95", "precision", "recall", "F1", "best confidence", "its F1")
    rows = [(name, *(row.get(column) for column in columns)) for name, row in _part(metrics, "per_class").items()]
    text = (
        f"Precision, recall and F1 (IoU 0.5) are those of detections with confidence {metrics['confidence']} or more; "
        "the best confidence is the one with the highest F1 on the test images."
        if "confidence" in metrics
        else ""
    )
    return [text, table(head, rows)] if rows else []


def _slices(slices: Record) -> str:
    rows = [(name, row.get("images"), row.get("boxes"), row.get("map50")) for name, row in slices.items()]
    return table(("slice", "images", "boxes", "mAP50"), rows)


def _calibration(values: Record) -> list[str]:
    if values.get("error") is None:
        return []
    rows = [
        (f"{row['low']:.1f} to {row['high']:.1f}", row["count"], row["confidence"], row["precision"])
        for row in values["bins"]
    ]
    text = f"Expected calibration error {show(values['error'])}: how far confidence is from precision on average."
    return [text, table(("confidence", "detections", "mean confidence", "precision"), rows)]


def _variants(comparison: Record) -> list[str]:
    """What was trained beside it, best first; nothing where it was alone."""
    from hakka.detector.variants import comparison_columns  # which needs the Markdown of this package

    if len(comparison.get("compared") or ()) < 2:
        return []
    return [table(*comparison_columns(comparison)), escape(comparison.get("refusal") or "")]


def _gate(record: Record) -> list[str]:
    numbers = _part(record, "numbers")
    figures = {
        name.replace("_", " ").replace("map50", "mAP50"): value
        for name, value in numbers.items()
        if not isinstance(value, Mapping)
    }
    judged = [
        (name, row.get("boxes"), row.get("low"), row.get("high"), row.get("passed"))
        for name, row in _part(numbers, "slices").items()
    ]
    judged += [(name, boxes, None, None, "too few boxes") for name, boxes in _part(numbers, "small_slices").items()]
    return [
        facts({"Decision": record.get("decision"), "Reason": record.get("reason"), **figures}),
        table(("protected slice", "boxes", "difference from", "to", "passed"), judged),
    ]


def _impact(impact: Record) -> list[str]:
    models = {who: _part(impact, who) for who in ("challenger", "champion") if who in impact}
    missed = {who: _part(part, "missed_allergens") for who, part in models.items()}
    allergens = sorted({name for counts in missed.values() for name in counts})
    return [
        facts(
            {
                "Test photos with food on them": impact.get("images"),
                **{f"Share of the right five recipes, {who}": part.get("right") for who, part in models.items()},
                "Recipes of the champion's five that change, on average": impact.get("changed"),
                "Photos on which any changes": impact.get("changed_images"),
            }
        ),
        table(
            ("allergen that was there and not seen, on so many photos", *missed),
            [(name, *(counts.get(name, 0) for counts in missed.values())) for name in allergens],
        ),
    ]


def _files(model: Record) -> list[str]:
    thresholds, int8 = _part(model, "thresholds"), _part(model, "int8")
    head = ("NMS-free" if model["nms_free"] else "with NMS") if "nms_free" in model else None
    return [
        facts(
            {
                "Precision": model.get("precision"),
                "Head": head,
                "Confidence threshold": thresholds.get("confidence"),
                "IoU threshold": thresholds.get("iou"),
                "mAP50 on the val images in fp32": int8.get("val_map50_fp32"),
                "mAP50 on the val images in int8": int8.get("val_map50_int8"),
                "What int8 may cost": int8.get("budget"),
            }
        ),
        table(("file", "SHA-256"), list(_part(model, "files").items())),
    ]


def _lineage(record: Record, model: Record) -> str:
    mirror = _part(record, "clearml")
    return facts(
        {
            "Data revision": record.get("data_revision"),
            "Git commit of the code": record.get("commit"),
            "Hakka": _part(model, "code").get("version"),
            "Run": record.get("run"),
            "ClearML task": mirror.get("task"),
            "ClearML mode": mirror.get("mode"),
            "Registered": model.get("created"),
        }
    )


def _call(record: Record, metrics: Record) -> list[str]:
    version = metrics.get("version")
    if not version:
        return []
    if record.get("version") != version:
        return ["It is not in the registry: the gate kept the champion."]
    endpoint = "The endpoint answers with the champion; the task “Call the endpoint” of the README has examples."
    return [code(f"hakka predict photo.jpg --model {version}"), endpoint]

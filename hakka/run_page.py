"""A run record for people: in a few lines, and as a page."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hakka.data.page import heading, page, table

CARDS = ("model-card", "dataset-card")  # files beside the page, as .md and .html


def summarize_run(record: Mapping[str, Any]) -> str:
    """The record in a few lines for a person."""
    from hakka.detector.variants import comparison_rows

    first, second, *others = _facts(record)
    variants = [("variant", f"{title}: {figures}") for title, figures in comparison_rows(_comparison(record))]
    return "\n".join(f"{name:<9} {text}" for name, text in (first, second, *variants, *others))


def _facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What there is to say of a run but for its variants: the data, the detector, then what became of it."""
    from hakka.detector.impact import impact_sentence

    counts, metrics = record["counts"], record["metrics"]
    used = f"{_images(counts['images'])}, {_boxes(counts['boxes'])} ({counts['clipped']} clipped)"
    refused = f"refused {_images(counts['refused_images'])}, {_boxes(counts['refused_boxes'])}"
    return [
        ("data", f"{used}; {refused}"),
        ("detector", f"mAP50 {metrics['map50']:.3f}, mAP50-95 {metrics['map50_95']:.3f} on the test images"),
        *([("splits", record["kept_splits"])] if record.get("kept_splits") else []),
        ("checks", _checks(record["validation"])),
        ("gate", f"{record['decision']}: {record['reason']}"),
        *([("recipes", impact_sentence(record["impact"]))] if record.get("impact") else []),
        ("champion", record["version"] or "none"),
    ]


def _checks(validation: Mapping[str, Any]) -> str:
    """How many data checks ran, and which of them warned."""
    names = f": {', '.join(validation['warned'])}" if validation["warned"] else ""
    return f"{validation['run']} run, {_count(validation['warnings'], 'warning', 'warnings')}{names}"


def _images(number: int) -> str:
    return _count(number, "image", "images")


def _boxes(number: int) -> str:
    return _count(number, "box", "boxes")


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _comparison(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The variants of a run; none where there was only one."""
    comparison = record.get("variants") or {}
    return comparison if len(comparison.get("compared", ())) > 1 else {"compared": []}


def render_run(record: Mapping[str, Any], folder: Path) -> str:
    """The record as one self-contained page for ``folder``, which links the cards and the reports of its steps."""
    from hakka.detector.variants import comparison_columns

    head, variants = comparison_columns(_comparison(record))
    steps = [(step["name"], step["state"], f"{step['seconds']:.1f} s") for step in record.get("steps", [])]
    links = {name.replace("-", " "): f"{name}.html" for name in CARDS} | {
        f"{name} report": _link(Path(path), folder)
        for name, path in record["paths"].items()
        if path.endswith(".html") and name != "report"
    }
    items = "".join(f'<li><a href="{escape(link)}">{name}</a></li>' for name, link in links.items())
    body = [
        _rows(_facts(record)),
        *([heading("Variants"), f'<div class="wide">{table(head, variants)}</div>'] if variants else []),
        heading("Reports"),
        f"<ul>{items}</ul>",
        *([heading("Steps"), table(("step", "state", "time"), steps)] if steps else []),
    ]
    return page(f"Run {record['run']}", body)


def _link(path: Path, folder: Path) -> str:
    """A relative link to what lies below ``folder``, which a copy of the folder keeps; else an absolute one."""
    below = path.is_relative_to(folder)
    return quote(path.relative_to(folder).as_posix()) if below else path.as_uri()


def _rows(pairs: Sequence[tuple[str, str]]) -> str:
    lines = (f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in pairs)
    return f"<table>{''.join(lines)}</table>"

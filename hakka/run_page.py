"""A run record for people: in a few lines, and as a page."""

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

CARDS = ("model-card", "dataset-card")  # files beside the page, as .md and .html


def summarize_run(record: Mapping[str, Any]) -> str:
    """The record in a few lines for a person."""
    from hakka.detector.impact import impact_sentence

    counts, metrics = record["counts"], record["metrics"]
    variant_lines = [f"variant   {title}: {figures}" for title, figures in _compared(record)]
    refused = f"refused {counts['refused_images']} images, {counts['refused_boxes']} boxes"
    return "\n".join(
        (
            f"data      {counts['images']} images, {counts['boxes']} boxes ({counts['clipped']} clipped); {refused}",
            f"detector  mAP50 {metrics['map50']:.3f}, mAP50-95 {metrics['map50_95']:.3f} on the test images",
            *variant_lines,
            f"gate      {record['decision']}: {record['reason']}",
            *([f"recipes   {impact_sentence(record['impact'])}"] if record.get("impact") else []),
            f"champion  {record['version'] or 'none'}",
        )
    )


def _compared(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The variants of a run by name and figures, where there was more than one."""
    from hakka.detector.variants import comparison_rows

    comparison = record.get("variants") or {"compared": []}
    return comparison_rows(comparison) if len(comparison["compared"]) > 1 else []


def render_run(record: Mapping[str, Any], folder: Path) -> str:
    """The record as one self-contained page for ``folder``, which links the cards and the reports of its steps."""
    heading = f"Run {record['run']}"
    rows = [line.split(maxsplit=1) for line in summarize_run(record).splitlines()]
    steps = [(step["name"], f"{step['state']}, {step['seconds']:.1f} s") for step in record.get("steps", [])]
    links = {name.replace("-", " "): f"{name}.html" for name in CARDS} | {
        f"{name} report": _link(Path(path), folder)
        for name, path in record["paths"].items()
        if path.endswith(".html") and name != "report"
    }
    items = "".join(f'<li><a href="{html.escape(link)}">{name}</a></li>' for name, link in links.items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(heading)}</title>'
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem}"
        "th{text-align:left;vertical-align:top;padding-right:1.5rem}</style>"
        f"<h1>{html.escape(heading)}</h1><table>{_rows(rows)}</table><h2>Reports</h2><ul>{items}</ul>"
        f"{f'<h2>Steps</h2><table>{_rows(steps)}</table>' if steps else ''}</html>\n"
    )


def _link(path: Path, folder: Path) -> str:
    """A relative link to what lies below ``folder``, which a copy of the folder keeps; else an absolute one."""
    below = path.is_relative_to(folder)
    return quote(path.relative_to(folder).as_posix()) if below else path.as_uri()


def _rows(pairs: Any) -> str:
    return "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in pairs)

"""One self-contained HTML page: no script, no foreign file, every word of the user's data escaped."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1d2a24;
background:#fbfaf6} h1{font-size:1.6rem} h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;width:100%;background:#fff} th{background:#f0ede3}
td,th{text-align:left;vertical-align:top;padding:.35rem .7rem;border-bottom:1px solid #e3e0d6;overflow-wrap:anywhere}
.ok{color:#1f7a3d} .warning{color:#9a6a00} .error{color:#b3261e;font-weight:600}
"""
ROWS = 500  # a table is cut after so many rows, and says so; the JSON beside the page has them all


def page(title: str, body: Iterable[str]) -> str:
    """A whole page; ``title`` is text, the parts of ``body`` are HTML from the functions below."""
    content = "\n".join(body)
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        f'content="{policy}"><title>{escape(title)}</title><style>{_STYLE}</style></head>\n'
        f"<body><h1>{escape(title)}</h1>\n{content}\n</body></html>\n"
    )


def heading(text: str) -> str:
    """A section's heading."""
    return f"<h2>{escape(text)}</h2>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph; ``kind`` is "", ok, warning or error."""
    return f'<p class="{escape(kind)}">{escape(text)}</p>'


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table of texts and numbers, None as an empty cell."""
    if not rows:
        return paragraph("None.")
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    lines = [
        "<tr>" + "".join(f"<td>{'' if cell is None else escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows[:ROWS]
    ]
    rest = paragraph(f"… and {len(rows) - ROWS} more, see report.json.") if len(rows) > ROWS else ""
    return f"<table><tr>{head}</tr>\n" + "\n".join(lines) + f"\n</table>{rest}"

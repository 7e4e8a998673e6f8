"""One self-contained HTML page: no script, no foreign file, every word of the user's data escaped, size bounded."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from hakka.texts import visible

_STYLE = """
:root{color-scheme:light dark;--text:#1d2a24;--quiet:#5c6b63;--back:#fbfaf6;--card:#fff;--head:#f0ede3;--line:#e3e0d6;
--ok:#1f7a3d;--warning:#8a5f00;--error:#b3261e;--a:#2f7d4f;--b:#d08a1d;--c:#3f6fb5}
@media (prefers-color-scheme:dark){:root{--text:#e4e9e5;--quiet:#9fb0a6;--back:#141a17;--card:#1c2420;--head:#27312c;
--line:#34403a;--ok:#6fcf8f;--warning:#e0b04a;--error:#ff8a80;--a:#58b37d;--b:#e0a64a;--c:#7ba6e6}}
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:74rem;padding:0 1rem;color:var(--text);
background:var(--back)} h1{font-size:1.6rem} h2{font-size:1.15rem;margin-top:2.2rem}
table{border-collapse:collapse;width:100%;background:var(--card)} th{background:var(--head)}
td,th{text-align:left;vertical-align:top;padding:.35rem .7rem;border-bottom:1px solid var(--line);
overflow-wrap:anywhere;min-width:4.6rem}
th,.wide td{overflow-wrap:normal} .wide{overflow-x:auto}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.ok{color:var(--ok)} .warning{color:var(--warning)} .error{color:var(--error);font-weight:600}
.quiet{color:var(--quiet)} .bars td{vertical-align:middle} .bars .name{width:14rem}
.bar{display:flex;height:.8rem;min-width:12rem} .bar i{display:block;min-width:1px}
.key{margin-right:1rem;white-space:nowrap}
.key i{display:inline-block;width:.8rem;height:.8rem;margin-right:.35rem;vertical-align:-.05rem}
.s0{background:var(--a)} .s1{background:var(--b)} .s2{background:var(--c)}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:1rem}
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:.4rem;overflow:hidden}
figure img{display:block;width:100%;height:15rem;object-fit:contain;background:var(--head)}
figcaption{padding:.45rem .7rem;font-size:.87rem;overflow-wrap:anywhere} figcaption b{display:block}
"""
ROWS = 1000  # a table is cut after so many rows, and says so; the JSON beside the page has them all
_TABLE_LENGTH = 400_000  # letters of HTML after which a table is cut too, however few rows it has
_CELL_LENGTH = 4000  # of a table; enough for a sentence about a hundred names
_TEXT_LENGTH = 300  # anywhere else
_NUMBER = re.compile(r"–|-?\d[\d.,]*( s)?")  # a dash stands for what is not known, s for seconds
_PARAGRAPH_LENGTH = 2000


def page(title: str, body: Iterable[str]) -> str:
    """A whole page; ``title`` is text, the parts of ``body`` are HTML from the functions below."""
    content = "\n".join(body)
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        f'content="{policy}"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{_safe(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{_safe(title)}</h1>\n{content}\n</body></html>\n"
    )


def heading(text: str) -> str:
    """A section's heading."""
    return f"<h2>{_safe(text)}</h2>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph; ``kind`` is "", quiet, ok, warning or error."""
    return f'<p class="{_safe(kind)}">{_safe(text, _PARAGRAPH_LENGTH)}</p>'


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table of texts and numbers, None as an empty cell; a column that reads as numbers stands to the right."""
    if not rows:
        return paragraph("None.")
    numbers = [all(_reads_as_number(row[i]) for row in rows[:ROWS]) for i in range(len(columns))]
    head = "".join(_cell("th", column, number) for column, number in zip(columns, numbers, strict=True))
    lines = ("<tr>" + "".join(map(_cell, ["td"] * len(row), row, numbers)) + "</tr>" for row in rows[:ROWS])
    return _whole_table("", head, lines, len(rows))


def bars(columns: Sequence[str], rows: Sequence[tuple[str, Mapping[str, int]]], what: str) -> str:
    """Stacked bars with their numbers: one for each name of ``rows``, one part for each of at most three ``columns``.

    ``what`` is the heading of the column of names.
    """
    if not rows:
        return paragraph("None.")
    most = max(max(sum(counts.get(column, 0) for column in columns) for _, counts in rows), 1)
    key = "".join(f'<span class="key"><i class="s{i}"></i>{_safe(column)}</span> ' for i, column in enumerate(columns))
    head = f'<th class="name">{_safe(what)}</th><th>{key}</th>'
    head += "".join(_cell("th", column, True) for column in (*columns, "all"))
    lines = (_bar(columns, name, counts, most) for name, counts in rows[:ROWS])
    return _whole_table("bars", head, lines, len(rows))


def gallery(pictures: Sequence[tuple[str, str, str]]) -> str:
    """Pictures in a grid: each a ``data:`` URI, a title and a text."""
    if not pictures:
        return paragraph("None.")
    figures = [
        f'<figure><img alt="{_safe(title)}" src="{_safe(uri, None)}"><figcaption><b>{_safe(title)}</b>{_safe(text)}'
        "</figcaption></figure>"
        for uri, title, text in pictures
    ]
    return '<div class="gallery">' + "\n".join(figures) + "</div>"


def _bar(columns: Sequence[str], name: str, counts: Mapping[str, int], most: int) -> str:
    numbers = [counts.get(column, 0) for column in columns]
    parts = "".join(
        f'<i class="s{i}" style="width:{100 * number / most:.2f}%"></i>' for i, number in enumerate(numbers) if number
    )
    cells = "".join(_cell("td", number, True) for number in (*numbers, sum(numbers)))
    return f'<tr><td>{_safe(name)}</td><td><div class="bar">{parts}</div></td>{cells}</tr>'


def _whole_table(kind: str, head: str, lines: Iterable[str], rows: int) -> str:
    shown: list[str] = []
    length = 0
    for line in lines:
        length += len(line)
        if length > _TABLE_LENGTH:
            break
        shown.append(line)
    rest = paragraph(f"… and {rows - len(shown)} more, see report.json.") if rows > len(shown) else ""
    return f'<table class="{kind}"><tr>{head}</tr>\n' + "\n".join(shown) + f"\n</table>{rest}"


def _reads_as_number(value: Any) -> bool:
    return value is None or _NUMBER.fullmatch(_text(value)) is not None


def _cell(tag: str, value: Any, number: bool) -> str:
    return f"<{tag}{' class=n' if number else ''}>{_safe(_text(value), _CELL_LENGTH)}</{tag}>"


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def _safe(text: str, most: int | None = _TEXT_LENGTH) -> str:
    """Text as HTML that shows it, cut to a length that a person reads."""
    if most is not None and len(text) > most:
        text = text[: most - 1] + "…"
    return escape(visible(text))

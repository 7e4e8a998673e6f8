"""Markdown that shows foreign text as it is, and the page that it makes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hakka.data.page import page
from hakka.texts import visible

LONGEST = 300  # letters of a text that are shown
SENTENCES = 20
# What CommonMark, tables and the autolinks and formulas of some viewers read as markup; "_" only where it is no part of
# a name. Markup that needs the start of a line is not here: a foreign text never stands there.
_MARKUP = re.compile(r"[\\`*\[\]<|~&$@]|:(?=//)|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|(?<=\bwww)\.", re.IGNORECASE)


@dataclass(frozen=True)
class Card:
    """A card: ``title`` is plain text, ``body`` is Markdown."""

    title: str
    body: str

    @property
    def markdown(self) -> str:
        """The card as a Markdown file."""
        return f"# {escape(self.title)}\n\n{self.body}\n"

    @property
    def html(self) -> str:
        """The card as one self-contained page."""
        from markdown_it import MarkdownIt

        return page(self.title, [MarkdownIt("commonmark", {"html": False}).enable("table").render(self.body)])


def escape(value: Any) -> str:
    """Any value as Markdown, in one line, that shows it and does nothing else."""
    text = visible(" ".join(str(value).split()))
    text = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return _MARKUP.sub(r"\\\g<0>", text)


def show(value: Any) -> str:
    """A figure or a text as Markdown: numbers with three places after the point, None and "" as a dash."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else escape(value)


def section(title: str, *parts: str) -> str:
    """A heading and its parts; nothing without a part."""
    return "\n\n".join([f"## {title}", *present]) if (present := [part for part in parts if part]) else ""


def join(*sections: str) -> str:
    """Sections one below the other."""
    return "\n\n".join(part for part in sections if part)


def facts(values: Mapping[str, Any]) -> str:
    """A list of names and values; a value of None or "" leaves its line out."""
    return "\n".join(
        f"- **{escape(name)}**: {show(value)}" for name, value in values.items() if value is not None and value != ""
    )


def sentences(texts: Sequence[str], where: str) -> str:
    """The first of a list of sentences, which are foreign text; ``where`` names the place of the others."""
    shown = [f"- “{escape(text)}”" for text in texts[:SENTENCES]]
    return "\n".join([*shown, *([f"- … and {len(texts) - SENTENCES:,} more, see {where}"] * (len(texts) > SENTENCES))])


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table, with numbers to the right; nothing without a row."""
    if not rows:
        return ""
    columns = [[row[i] for row in rows] for i in range(len(head))]
    marks = [
        "---:" if all(value is None or isinstance(value, int | float) for value in one) else "---" for one in columns
    ]
    lines = [[escape(title) for title in head], marks, *([show(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code(command: str) -> str:
    """A block of shell commands."""
    return f"```sh\n{command}\n```"

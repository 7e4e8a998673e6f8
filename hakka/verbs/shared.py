"""What the verbs have in common: how one is added, and how results are printed."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hakka.settings import read_settings
from hakka.texts import visible

Verbs = Any  # argparse keeps the type of its subparsers to itself
Run = Callable[[argparse.Namespace], int]


def add_verb(verbs: Verbs, name: str, run: Run, about: str, example: str) -> argparse.ArgumentParser:
    """A parser for one verb, with its one-line help and an example that works."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog=f"example: {example}",
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    return parser


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option ``--json``: stdout is one JSON value for a program."""
    parser.add_argument("--json", action="store_true", help="print one JSON value")


def print_json(value: Any) -> None:
    """A value as JSON on stdout."""
    print(json.dumps(value, ensure_ascii=False))


def print_line(text: str) -> None:
    """A line on stdout that holds names of foreign origin: what a terminal obeys is written as an escape."""
    print(visible(text))


def print_rows(rows: Sequence[Sequence[str]], indent: str = "") -> None:
    """Lines of cells on stdout, their columns flush; the cells are shown as by :func:`print_line`."""
    shown = [list(map(visible, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        print((indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip())


def find_model(name: str | None) -> Path:
    """A model folder by its path, version or channel; the champion without a name."""
    from hakka.registry import resolve

    folder = Path(name or "")
    return folder if name and folder.is_dir() else resolve(name or "champion", read_settings().registry)


def progress_line(what: str) -> Callable[[int, int], None]:
    """A callback (done, all) that keeps one line current on a terminal, and is silent elsewhere."""

    def show(done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{what} {done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True)

    return show

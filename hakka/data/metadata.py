"""``metadata.csv`` of a data folder: what its owner knows of each photo, such as where it was taken.

The column ``image`` names the photo; every other column makes slices of the test photos, ``column=value``.
"""

import csv
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import pairwise
from pathlib import Path

import numpy as np

from hakka.data.formats.naming import ImageFinder
from hakka.data.listing import Listing
from hakka.errors import InvalidInput
from hakka.texts import counted, short

METADATA = "metadata.csv"
IMAGE = "image"
DELIMITERS = ",;\t"
SNIFFED = 16_384  # letters that the delimiter is found in
MOST_VALUES = 20  # of a column; more numbers than that are cut into QUANTILES, more texts are names or dates, no slices
QUANTILES = 4


@dataclass(frozen=True)
class Metadata:
    """The rows of a metadata file.

    ``images``: each row's photo, as written. ``columns``: for each column that makes slices the value of each row,
    empty for none; of a column of many numbers the value is a range. ``left_out``: why the other columns make none.
    ``ranges``: the ranges that columns were cut into.
    """

    path: Path
    images: tuple[str, ...]
    columns: dict[str, tuple[str, ...]]
    left_out: dict[str, str]
    ranges: dict[str, tuple[str, ...]]


def read_metadata(root: Path) -> Metadata | None:
    """The ``metadata.csv`` of a data folder, None where there is none. Commas, semicolons or tabs divide its columns.

    Raises:
        InvalidInput: it is no CSV in UTF-8, has no column ``image`` or a column twice, or a row has too many values.
    """
    path = root / METADATA
    if not path.is_file():
        return None
    head, rows = _read_rows(path)
    place = next((i for i, name in enumerate(head) if name.lower() == IMAGE), None)
    if place is None:
        raise InvalidInput(f"{path}: needs a column 'image', got {', '.join(map(short, head)) or 'none'}")
    columns: dict[str, tuple[str, ...]] = {}
    left_out: dict[str, str] = {}
    ranges: dict[str, tuple[str, ...]] = {}
    for i, name in enumerate(head):
        if not name or i == place:
            continue
        values = tuple(row[i] for row in rows)
        distinct = {value for value in values if value}
        if len(distinct) <= MOST_VALUES:
            columns[name] = values
            continue
        numbers = [_number(value) for value in values]
        wrong = next((value for value, number in zip(values, numbers, strict=True) if value and number is None), None)
        if wrong is None:
            columns[name], ranges[name] = _cut(numbers)
        else:
            left_out[name] = f"has {len(distinct)} values, more than {MOST_VALUES}, and {short(wrong)} is no number"
    return Metadata(path, tuple(row[place] for row in rows), columns, left_out, ranges)


def find_rows(metadata: Metadata, images: Iterable[str]) -> tuple[dict[str, int], list[str]]:
    """The row of each of the ``images`` that has one, and a sentence for each kind of row that is not as it should be.

    A photo is found by its path, or by any ending of it that is the only such one, as in annotations. Of several rows
    of one photo the last counts.
    """
    finder = ImageFinder(Listing(metadata.path.parent, tuple(sorted(images))))
    rows: dict[str, int] = {}
    lost: list[str] = []
    repeated: Counter[str] = Counter()
    for i, name in enumerate(metadata.images):
        image, _ = finder.find([name], METADATA, one_image=False)
        if image is None:
            lost.append(name)
        else:
            repeated[image] += image in rows
            rows[image] = i
    notes = []
    if lost:
        rows_told = f"{len(lost)} of {counted(len(metadata.images), 'row')} {'names' if len(lost) == 1 else 'name'}"
        notes.append(f"{METADATA}: {rows_told} no photo of the dataset, such as {short(lost[0])}")
    if twice := [image for image, more in repeated.items() if more]:
        many = counted(len(twice), "photo has", "photos have")
        notes.append(f"{METADATA}: {many} several rows, such as {short(twice[0])}; the last one counts")
    return rows, notes


def metadata_notes(root: Path, images: Iterable[str]) -> list[str]:
    """Sentences for whoever wrote the ``metadata.csv`` of a data folder: what is not used, and what ranges are called.

    Raises:
        InvalidInput: as :func:`read_metadata`.
    """
    metadata = read_metadata(root)
    if metadata is None:
        return []
    _, notes = find_rows(metadata, images)
    notes += [f"{METADATA}: column {short(name)} makes no slices: it {why}" for name, why in metadata.left_out.items()]
    for name, parts in metadata.ranges.items():
        slices = ", ".join(short(f"{name}={part}") for part in parts)
        notes.append(f"{METADATA}: column {short(name)} holds many numbers, its slices are {slices}")
    return notes


def _read_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """The names of the columns, and the rows, each with a value for every column."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        reader = csv.reader(StringIO(text), delimiter=_delimiter(text), strict=True)
        head = [name.strip() for name in next((row for row in reader if any(row)), [])]
        rows = []
        for row in reader:
            values = [value.strip() for value in row]
            if any(values[len(head) :]):
                where = f"{path}: line {reader.line_num}"
                raise InvalidInput(f"{where}: a row must have at most {len(head)} values, got {len(values)}")
            if any(values):
                rows.append((values + [""] * len(head))[: len(head)])
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"{path}: must be CSV in UTF-8: {error}") from None
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read: {error.strerror}") from None
    if twice := [name for name, count in Counter(filter(None, head)).items() if count > 1]:
        raise InvalidInput(f"{path}: each column must have a name of its own, got {short(twice[0])} twice")
    return head, rows


def _delimiter(text: str) -> str:
    try:
        return csv.Sniffer().sniff(text[:SNIFFED], delimiters=DELIMITERS).delimiter
    except csv.Error:  # a single column
        return ","


def _number(value: str) -> float | None:
    """A number, also with a decimal comma, as spreadsheets of many countries write it."""
    try:
        number = float(value.replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _cut(numbers: Sequence[float | None]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The range of each number, and all ranges: the quarters of the numbers, fewer where many numbers are the same."""
    known = np.array([number for number in numbers if number is not None])
    bounds = np.unique(np.quantile(known, np.linspace(0, 1, QUANTILES + 1), method="inverted_cdf"))
    names = tuple(f"{low:.12g} to {high:.12g}" for low, high in pairwise(bounds)) or (f"{bounds[0]:.12g}",)
    return tuple(
        "" if number is None else names[max(int(np.searchsorted(bounds, number)) - 1, 0)] for number in numbers
    ), names

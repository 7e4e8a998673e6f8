"""The earlier version of the data, whose photos keep their split, and which version of a data folder was accepted last.

``accepted`` of the settings holds a record of each data folder (``<digest of its name>.json``) and of each accepted
dataset what a later one needs (``<its digest>/``): ``dataset.json`` and the index.
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from hakka.data.dataset import DIGEST, ImageEntry, read_about, read_index
from hakka.data.split import SPLITS, SplitParams
from hakka.errors import InvalidInput
from hakka.files import read_json, sha256_file, whole_folder, write_json
from hakka.texts import short

_INDEX = "index.jsonl"
_KEPT = ("dataset.json", _INDEX)


@dataclass(frozen=True)
class Earlier:
    """An earlier dataset: its digest, and the split of each of its photos by the digest of the photo's bytes."""

    digest: str
    splits: Mapping[str, str]


def read_earlier(dataset: Path) -> Earlier:
    """The splits of a dataset folder; neither its photos nor its labels need to be there any more.

    Raises:
        InvalidInput: the folder is no dataset, or its index is not the one that was written.
    """
    about, entries = read_about(dataset), read_index(dataset)
    place = dataset / _INDEX
    counts = Counter(entry.split for entry in entries)
    wanted, found = about.get("images"), {split: counts[split] for split in SPLITS}
    if wanted != found:
        raise InvalidInput(f"{place}: must have the images that dataset.json counts, {short(wanted)}, got {found}")
    if not _is_as_written(place, about):
        raise InvalidInput(f"{place}: must be as hakka convert wrote it, and it was changed: convert its source again")
    first: dict[str, ImageEntry] = {}
    for entry in entries:
        twin = first.setdefault(entry.sha256, entry)
        if twin.split != entry.split:
            one, other = (f"{short(each.image)} in {each.split}" for each in (twin, entry))
            raise InvalidInput(f"{place}: the same photo must be in one split, got {one} and {other}")
    return Earlier(about["digest"], {digest: entry.split for digest, entry in first.items()})


def find_earlier(accepted: Path, data: str, revision: str, params: SplitParams) -> str:
    """The digest of the accepted dataset whose splits a conversion of ``data`` at ``revision`` keeps; empty for none.

    That is the one accepted last. Only where it was made of this very revision, it is the one that it kept the splits
    of itself: so the same data is converted from the same, and every step can be reused. (If that is damaged, the one
    accepted last does as well: all photos of this revision are in it.) There is none as long as no version was
    accepted, with ``keep_source``, and after a change of the split's params, which asks for another split.

    Raises:
        InvalidInput: the record is damaged, or what it names is. The version before would not do: it does not know all
            photos that a model was trained on.
    """
    record_file = _record_file(accepted, data)
    if params.keep_source or not record_file.is_file():
        return ""
    anew = f"begin the splits anew, after which the champion may have seen test photos: rm {quote(str(record_file))}"
    try:
        record = read_json(record_file)
        split, made_of, before, last = (record[key] for key in ("split", "revision", "earlier", "dataset"))
        is_damaged = not DIGEST.fullmatch(last) or not (DIGEST.fullmatch(before) or before == "")
    except (InvalidInput, KeyError, TypeError):
        is_damaged = True
    if is_damaged:
        raise InvalidInput(f"{record_file}: this record of the accepted data is damaged; {anew}")
    digests = [before, last] if made_of == revision else [last]
    if split != params.about() or not digests[0]:
        return ""
    whole = next((digest for digest in digests if _is_whole(accepted / digest)), None)
    if whole is None:
        cure = f"run the data as it was then once more, which writes it again, or {anew}"
        raise InvalidInput(f"{accepted / last}: the splits of the accepted data are missing there or damaged; {cure}")
    return str(whole)


def remember_dataset(dataset: Path, accepted: Path, data: str, revision: str) -> None:
    """Make a dataset the accepted version of ``data``, which was at ``revision``, that the next one is split after.

    What was kept of it before and is damaged is written again.

    Raises:
        InvalidInput: the folder is no dataset.
    """
    about = read_about(dataset)
    kept = accepted / about["digest"]
    if not _is_whole(kept):
        with whole_folder(kept) as folder:
            for name in _KEPT:
                shutil.copyfile(dataset / name, folder / name)
    record = {
        "revision": revision,
        "dataset": about["digest"],
        "earlier": about.get("earlier", ""),
        "split": about["split"],
    }
    write_json(_record_file(accepted, data), record)


def name_data(data: str) -> str:
    """The hex digest that a data folder, given as path or address, is known by where something is kept of it."""
    name = str(Path(data).resolve()) if Path(data).exists() else data
    return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()


def _is_as_written(index: Path, about: Mapping[str, Any]) -> bool:
    return about.get("index_sha256") in (None, sha256_file(index))  # older datasets do not have it


def _is_whole(dataset: Path) -> bool:
    """Whether what is kept of a dataset is there and as it was written."""
    try:
        return _is_as_written(dataset / _INDEX, read_about(dataset))
    except (InvalidInput, FileNotFoundError):
        return False


def _record_file(accepted: Path, data: str) -> Path:
    return accepted / f"{name_data(data)}.json"

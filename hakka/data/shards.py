"""The look at a source's images, in shards that may run at once: who looks at which, and one account of them all.

The images are shared out by the digest of their names, so the shares are even and hang on nothing but the names. What
the shards saw is put together by name, so a conversion from any number of shards gives the same bytes.

Each function is a step of its own and imports what it needs, so that a step does not wait for the others' libraries.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hakka.errors import InvalidInput
from hakka.files import read_json, whole_folder, write_json, write_whole
from hakka.params import read_section

if TYPE_CHECKING:
    from hakka.data.scan import Scan

MAX_SHARDS = 10_000
SCANS = "scans.jsonl"
ABOUT = "shard.json"
QUIET_BELOW = 1000  # images; fewer are looked at before anyone asks how far it is


@dataclass(frozen=True)
class ScanParams:
    """Section ``scan`` of params.yaml: in how many shards a pipeline looks at the images."""

    shards: int = 1

    def __post_init__(self) -> None:
        """Raises InvalidInput for a number of shards that no pipeline can run."""
        if not 1 <= self.shards <= MAX_SHARDS:
            raise InvalidInput(f"shards must be 1 to {MAX_SHARDS}, got {self.shards}")


@dataclass(frozen=True)
class Shard:
    """One of ``count`` shards; ``number`` counts from 1. As text it is ``2/4``."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def holds(self, image: str) -> bool:
        """Whether an image is of this shard."""
        return shard_of(image, self.count) == self.number


def shard_of(image: str, shards: int) -> int:
    """The number (1 to ``shards``) of the shard that looks at an image: its name's digest modulo ``shards``."""
    digest = hashlib.sha256(image.encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8]) % shards + 1


def list_images(source: Path, format: str, shards: int, out: Path) -> list[str]:  # noqa: A002
    """Write the names of the images that the annotations of ``source`` name to ``out``; gives the shards' names.

    ``out`` is JSON lines, one name a line, in the order of the annotations.

    Raises:
        InvalidInput: the annotations cannot be read, or ``shards`` is out of range.
    """
    from hakka.data.formats import read_annotations

    count = ScanParams(shards).shards
    names = [image.image for image in read_annotations(source, format).images]
    write_whole(out, "".join(f"{json.dumps(name)}\n" for name in names))
    return [str(Shard(number, count)) for number in range(1, count + 1)]


def scan_shard(source: Path, images: Path, out: Path, shard: str) -> dict[str, Any]:
    """Look at the images of one shard (such as ``2/4``) and write what was seen into the folder ``out``.

    ``images`` is what ``list_images`` wrote. Gives the number of images, of bytes read, and of images with a problem.

    Raises:
        InvalidInput: ``shard`` is no shard, or ``images`` is no list of names.
    """
    from hakka.data.scan import scan_images, write_scans

    chosen = read_shard(shard)
    mine = [name for name in _read_names(images) if chosen.holds(name)]
    scans = scan_images(source, mine, _tell_every_tenth(len(mine)))
    with whole_folder(out) as folder:
        write_scans(folder / SCANS, scans.values())
        write_json(folder / ABOUT, {"shard": chosen.number, "shards": chosen.count, "images": len(scans)})
    return {
        "images": len(scans),
        "bytes": sum(scan.length for scan in scans.values()),
        "problems": sum(scan.problem is not None for scan in scans.values()),
    }


def read_shard(text: str) -> Shard:
    """The shard that a text such as ``2/4`` names.

    Raises:
        InvalidInput: it names none.
    """
    number, slash, count = text.partition("/")
    if slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count) <= MAX_SHARDS:
        return Shard(int(number), int(count))
    raise InvalidInput(f"shard must be a number and how many there are, such as 2/4, got {text!r}")


def read_shards(folders: Sequence[Path]) -> "dict[str, Scan]":
    """All scans by image, from the folders that ``scan_shard`` wrote, in any order.

    Raises:
        InvalidInput: a shard is missing or is there twice, one is of another number of shards, or two shards looked at
            the same image.
    """
    found: dict[int, Path] = {}
    counts = set()
    for folder in folders:
        about = read_json(folder / ABOUT)
        if not isinstance(about, dict) or not all(isinstance(about.get(key), int) for key in ("shard", "shards")):
            raise InvalidInput(f"{folder / ABOUT}: not the record of a shard")
        if about["shard"] in found:
            raise InvalidInput(f"{folder}: shard {about['shard']} is in {found[about['shard']]} already")
        found[about["shard"]] = folder
        counts.add(about["shards"])
    if len(counts) != 1:
        raise InvalidInput(f"shards must be of one scan, got shards of {', '.join(map(str, sorted(counts))) or 'none'}")
    missing = sorted(set(range(1, counts.pop() + 1)) - found.keys())
    if missing:
        raise InvalidInput(f"{len(found)} shards are there, but shard {missing[0]} of the same scan is not")
    return _merge(found[number] for number in sorted(found))


def convert_scanned(
    source: Path,
    out: Path,
    format: str,  # noqa: A002
    shards: Sequence[Path],
    earlier: Path | None = None,
) -> dict[str, Any]:
    """Convert ``source`` as ``hakka.data.convert.convert`` does, from what the shards saw; no image is opened.

    Raises:
        InvalidInput, Unavailable: as ``convert`` and ``read_shards``.
    """
    from hakka.data.convert import convert
    from hakka.data.split import SplitParams

    params = read_section(SplitParams, "split")
    return convert(source, out, format=format, params=params, earlier=earlier, scans=read_shards(shards))


def _merge(folders: Iterable[Path]) -> "dict[str, Scan]":
    from hakka.data.scan import read_scans

    merged: dict[str, Scan] = {}
    for folder in folders:
        for image, scan in read_scans(folder / SCANS).items():
            if image in merged:
                raise InvalidInput(f"{folder / SCANS}: another shard looked at {image} already")
            merged[image] = scan
    return merged


def _read_names(path: Path) -> list[str]:
    try:
        names = [json.loads(line) for line in path.read_bytes().splitlines()]
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path}: not a list of images: {error}") from None
    if not all(isinstance(name, str) for name in names):
        raise InvalidInput(f"{path}: not a list of images: every line must be a name")
    return names


def _tell_every_tenth(total: int) -> Callable[[int, int], None] | None:
    """Lines that a person sees while many images are looked at."""
    if total < QUIET_BELOW:
        return None
    step = -(-total // 10)

    def tell(done: int, total: int) -> None:
        if done % step == 0 or done == total:
            print(f"{done} of {total} images", flush=True)

    return tell

"""Is every image there, whole, and worth learning from?"""

from pathlib import Path, PurePosixPath

from hakka.data.dataset import Dataset
from hakka.data.scan import Scan
from hakka.quality.answers import Judge
from hakka.quality.limits import Limits

SUFFIXES = {"jpeg": (".jpg", ".jpeg", ".jpe"), "png": (".png",), "webp": (".webp",)}


def test_images_present(dataset: Dataset, root: Path, judge: Judge) -> None:
    """Every image of the index is in the data folder."""
    judge(
        (entry.image, f"{entry.image}: not in the data folder")
        for entry in dataset.entries
        if not (root / entry.image).is_file()
    )


def test_images_decode(scans: dict[str, Scan], root: Path, judge: Judge) -> None:
    """Every image decodes to its last byte."""
    judge(
        (scan.image, f"{scan.image}: {scan.problem}")
        for scan in scans.values()
        if scan.problem and (root / scan.image).is_file()
    )


def test_images_unchanged(dataset: Dataset, scans: dict[str, Scan], judge: Judge) -> None:
    """Every image has the bytes and the size that it had when it was converted."""
    problems: list[tuple[str | None, str]] = []
    for entry in dataset.entries:
        scan = scans[entry.image]
        if scan.sha256 and scan.sha256 != entry.sha256:
            problems.append((entry.image, f"{entry.image}: its bytes are not those that were converted"))
        elif not scan.problem and (scan.width, scan.height) != (entry.width, entry.height):
            reason = f"must be {entry.width} x {entry.height} pixels, got {scan.width} x {scan.height}"
            problems.append((entry.image, f"{entry.image}: {reason}"))
    judge(problems)


def test_image_format(scans: dict[str, Scan], judge: Judge) -> None:
    """The suffix of every image says what its content is."""
    judge(
        (scan.image, f"{scan.image}: the content is {scan.format.upper()}, the name says otherwise")
        for scan in scans.values()
        if scan.format and PurePosixPath(scan.image).suffix.lower() not in SUFFIXES[scan.format]
    )


def test_image_size(scans: dict[str, Scan], limits: Limits, judge: Judge) -> None:
    """No image is tiny, huge or a strip."""
    low, high = (limits.number("image_size", key) for key in ("min_side", "max_side"))
    aspect = limits.number("image_size", "max_aspect")
    problems: list[tuple[str | None, str]] = []
    for scan in scans.values():
        short, long = sorted((scan.width, scan.height))
        if scan.problem:
            continue
        if short < low or long > high:
            reason = f"sides must be from {low:g} to {high:g} pixels, got {scan.width} x {scan.height}"
            problems.append((scan.image, f"{scan.image}: {reason}"))
        if long > aspect * short:
            reason = f"the long side must be ≤ {aspect:g} times the short one, got {scan.width} x {scan.height}"
            problems.append((scan.image, f"{scan.image}: {reason}"))
    judge(problems)


def test_image_variance(scans: dict[str, Scan], limits: Limits, judge: Judge) -> None:
    """No image is one flat colour."""
    least = limits.number("image_variance", "min_deviation")
    judge(
        (scan.image, f"{scan.image}: the grey values must deviate by ≥ {least:g}, got {scan.deviation:g}")
        for scan in scans.values()
        if not scan.problem and scan.deviation < least
    )


def test_image_filled(scans: dict[str, Scan], limits: Limits, judge: Judge) -> None:
    """No photo ends in the even grey that a decoder fills in for lost data."""
    most = limits.number("image_filled", "max_share")
    judge(
        (scan.image, f"{scan.image}: the lower {scan.filled:.0%} of its rows are missing, filled with grey")
        for scan in scans.values()
        if not scan.problem and scan.filled > most
    )

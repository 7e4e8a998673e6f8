"""``hakka data track | push | pull | list | diff``: versions of the data."""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hakka.errors import InvalidInput
from hakka.verbs.shared import Verbs, add_json, add_verb, print_json, print_line, print_rows

if TYPE_CHECKING:
    from hakka.data.diff import BoxChanges, Diff
    from hakka.data.versions import Version

SHOWN = 5


def add_verbs(verbs: Verbs) -> None:
    """Add ``hakka data`` and its verbs."""
    data = verbs.add_parser(
        "data",
        help="versions of the data: track, push, pull, list, diff",
        description="Versions of a data folder: its content in DVC, its history in git (docs/data-versions.md).",
        epilog="example: hakka data track photos --commit --tag v1",
        allow_abbrev=False,
    )
    parts = data.add_subparsers(required=True, metavar="VERB")
    _add_track(parts)
    for name, run, about in (
        ("push", run_push, "copy to the remote what it lacks"),
        ("pull", run_pull, "bring the folder to the state of its record"),
    ):
        parser = add_verb(parts, name, run, about, f"hakka data {name} photos")
        parser.add_argument("folder", type=Path, nargs="?", metavar="FOLDER", help="data folder (default: all of them)")
        parser.add_argument("--remote", metavar="NAME", help="remote of DVC (default: the default one)")
        if name == "push":
            parser.add_argument("--all", action="store_true", help="every version that git knows, not only this one")
        else:
            parser.add_argument(
                "--force", action="store_true", help="throw away what was changed or added here and not tracked"
            )
        add_json(parser)

    listed = add_verb(parts, "list", run_list, "list the versions that git knows", "hakka data list photos")
    listed.add_argument("folder", type=Path, nargs="?", metavar="FOLDER", help="data folder (default: all of them)")
    add_json(listed)

    diff = add_verb(
        parts,
        "diff",
        run_diff,
        "say what changed in images, boxes and classes between two versions, or between two datasets",
        "hakka data diff v1 v2 --data photos   (or: hakka data diff build/dataset-1 build/dataset-2)",
    )
    diff.add_argument("before", metavar="REV1", help="commit, tag or branch; or a dataset folder")
    diff.add_argument("after", metavar="REV2", nargs="?", help="the same (default: the folder as it lies)")
    diff.add_argument("--data", type=Path, metavar="FOLDER", help="data folder (default: the only one that is tracked)")
    add_json(diff)


def _add_track(parts: Verbs) -> None:
    track = add_verb(
        parts,
        "track",
        run_track,
        "make a version of a data folder",
        "hakka data track photos --message 'June photos' --tag v2",
    )
    track.add_argument("folder", type=Path, metavar="FOLDER", help="folder of photos and annotation files")
    track.add_argument("--commit", action="store_true", help="let git keep the record at once")
    track.add_argument("--message", metavar="M", help="message of that commit")
    track.add_argument("--tag", metavar="NAME", help="name the commit")
    track.add_argument(
        "--remote", metavar="PLACE", help="make this folder or address (s3://…) the default remote of the repository"
    )
    add_json(track)


def run_track(options: argparse.Namespace) -> int:
    """Track a folder; with --commit, --message or --tag, commit it too."""
    from hakka.data.versions import check_commit, commit, track
    from hakka.settings import read_settings

    store = read_settings().dvc_remote
    commits = bool(options.commit or options.message or options.tag)
    if commits:
        check_commit(options.folder, options.tag)
    tracked = track(options.folder, store, remote=options.remote, watch=_watched(options))
    record = tracked.record
    answer: dict[str, Any] = {**_counts(asdict(record)), "revision": record.revision, "commit": None}
    if commits:
        answer["commit"] = commit(tracked, _message(options, record.files), options.tag)
    if options.json:
        print_json({**answer, "folder": str(options.folder), "to_commit": list(tracked.to_commit)})
        return 0
    print(f"{options.folder}: {record.files} files, {_size(record.bytes)}: {record.revision}")
    if answer["commit"]:
        print(f"commit  {answer['commit']}" + (f", tag {options.tag}" if options.tag else ""))
    elif tracked.to_commit:
        git = f"git -C {shlex.quote(os.path.relpath(tracked.repository))}"
        print(f"next    {git} add {shlex.join(tracked.to_commit)}")
        print(f"        {git} commit --message {shlex.quote(_message(options, record.files))}")
    return 0


def run_push(options: argparse.Namespace) -> int:
    """Push to the remote."""
    from hakka.data.versions import push

    done = push(options.folder, remote=options.remote, every_version=options.all, watch=_watched(options))
    return _say(options, done)


def run_pull(options: argparse.Namespace) -> int:
    """Pull from the remote."""
    from hakka.data.versions import pull

    done = pull(options.folder, remote=options.remote, force=options.force, watch=_watched(options))
    return _say(options, done)


def run_list(options: argparse.Namespace) -> int:
    """List the versions of one folder, or of all that are tracked."""
    from hakka.data.versions import list_tracked, list_versions

    folders = [options.folder] if options.folder else list_tracked(Path.cwd())
    versions = {os.path.relpath(folder): list_versions(folder) for folder in folders}
    if options.json:
        print_json({folder: [_version_json(version) for version in rows] for folder, rows in versions.items()})
        return 0
    for folder, rows in versions.items():
        print_line(folder)
        head = ["commit", "date", "files", "size", "md5", "tags", "message"]
        print_rows([head, *map(_version_row, rows)], indent="  ")
    if not versions:
        print("no data folder is tracked here: hakka data track FOLDER")
    return 0


def run_diff(options: argparse.Namespace) -> int:
    """Compare two datasets, two revisions, or a revision and the folder as it lies."""
    from hakka.data.snapshot import WORKSPACE, diff_datasets, diff_versions

    if (Path(options.before) / "dataset.json").is_file():
        if options.after is None:
            raise InvalidInput(f"{options.before}: is a dataset: name a second one to compare it with")
        diff = diff_datasets(Path(options.before), Path(options.after))
    else:
        diff = diff_versions(options.data or _only_tracked(), options.before, options.after or WORKSPACE)
    if options.json:
        print_json(diff.to_json())
    else:
        _print_diff(diff)
    return 0


def _message(options: argparse.Namespace, files: int | None) -> str:
    return options.message or f"Data: {options.folder.resolve().name}, {files} files"


def _only_tracked() -> Path:
    from hakka.data.versions import list_tracked

    folders = list_tracked(Path.cwd())
    if len(folders) != 1:
        names = ", ".join(folder.name for folder in folders) or "none"
        raise InvalidInput(f"--data must name the folder where not exactly one is tracked; tracked: {names}")
    return folders[0]


def _say(options: argparse.Namespace, sentence: str) -> int:
    if options.json:
        print_json({"folder": str(options.folder) if options.folder else None, "result": sentence})
    else:
        print(sentence)
    return 0


def _watched(options: argparse.Namespace) -> bool:
    return not options.json and sys.stderr.isatty()


def _counts(record: dict[str, Any]) -> dict[str, Any]:
    return {key: record[key] for key in ("md5", "files", "bytes")}


def _version_json(version: "Version") -> dict[str, Any]:
    about = asdict(version)
    return {**about, **_counts(about.pop("record") or dict.fromkeys(("md5", "files", "bytes")))}


def _version_row(version: "Version") -> list[str]:
    record = version.record
    what = [str(record.files), _size(record.bytes), record.md5[:8]] if record else ["", "", "none"]
    return [version.commit, version.date[:10], *what, " ".join(version.tags), version.message]


def _size(count: int | None) -> str:
    if count is None:
        return "?"
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _print_diff(diff: "Diff") -> None:
    images, boxes = diff.images, diff.boxes
    print_line(f"from    {diff.before.name}")
    print_line(f"to      {diff.after.name}")
    if diff.is_empty:
        print("nothing changed")
    print(
        f"images  {images.before} → {images.after}: {len(images.added)} added, {len(images.removed)} removed, "
        f"{len(images.renamed)} renamed, {len(images.changed)} with other bytes"
    )
    print(
        f"boxes   {boxes.before} → {boxes.after}: {boxes.added} added, {boxes.removed} removed, {boxes.moved} moved, "
        f"{boxes.relabelled_to} relabelled"
    )
    print_line(f"classes {len(diff.before.classes)} → {len(diff.after.classes)}{_classes_changed(diff)}")
    rows = [_class_row(name, changes) for name, changes in diff.classes.items() if _is_touched(changes)]
    if rows:
        print()
        head = ["class", "before", "after", "added", "removed", "moved", "came", "left"]
        print_rows([head, *rows], indent="  ")
    pairs = sorted(diff.relabelled.items(), key=lambda item: (-item[1], item[0]))
    _print_names("relabelled", [f"{old} → {new}: {count}" for (old, new), count in pairs])
    if not diff.is_empty:
        print()
    _print_names("images added", images.added)
    _print_names("images removed", images.removed)
    _print_names("images renamed", [f"{old} → {new}" for old, new in images.renamed])
    _print_names("images with other bytes", images.changed)
    _print_names("images with other boxes", diff.redrawn)
    _print_names("units cannot be compared, boxes count as removed and added", diff.unlike)
    for state in (diff.before, diff.after):
        if state.refused_images or state.refused_boxes:
            refused = f"{state.refused_images} images and {state.refused_boxes} boxes"
            print_line(f"{state.name}: the reader refuses {refused}, which are not compared (hakka convert says why)")


def _classes_changed(diff: "Diff") -> str:
    old, new = diff.before.classes, diff.after.classes
    signs = [f"+ {name}" for name in new if name not in old] + [f"− {name}" for name in old if name not in new]
    return f": {', '.join(signs)}" if signs else ""


def _is_touched(changes: "BoxChanges") -> bool:
    return changes.unchanged != changes.before or changes.unchanged != changes.after


def _class_row(name: str, changes: "BoxChanges") -> list[str]:
    counts = (changes.before, changes.after, changes.added, changes.removed, changes.moved)
    return [name, *map(str, counts), str(changes.relabelled_to), str(changes.relabelled_from)]


def _print_names(what: str, names: Sequence[str]) -> None:
    if names:
        more = f" … and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        print_line(f"{what} ({len(names)}): {', '.join(names[:SHOWN])}{more}")

"""Versions of a data folder: its content in DVC, the record of it (``photos.dvc``) in git.

A revision is a commit, tag or branch of git, or ``dvc-<md5>``, the name of the content itself.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from hakka.data.dvc import Cache, add_remote, find_root, link_object, make_folders, read_config, run_dvc, set_up
from hakka.data.dvcfile import Record, parse_listing, parse_record, record_path
from hakka.data.fingerprint import fingerprint
from hakka.data.git import find_commit, find_repository, list_changes, list_tags, read_files, run_git
from hakka.data.listing import list_source
from hakka.errors import HakkaError, InvalidInput, NotFound
from hakka.files import real_path, whole_folder
from hakka.texts import printable, short

PREFIX = "dvc-"


@dataclass(frozen=True)
class Tracked:
    """A folder that DVC tracks now, and which files git has yet to keep (relative to ``repository``)."""

    record: Record
    repository: Path
    to_commit: tuple[str, ...]


@dataclass(frozen=True)
class Version:
    """One commit in which the record of a folder changed; ``record`` is None where tracking ended."""

    commit: str
    date: str
    message: str
    tags: tuple[str, ...]
    record: Record | None


def revision(folder: Path) -> str:
    """The name of a data folder's content: ``dvc-<md5>`` if DVC tracks it unchanged, else ``local-<digest>``.

    Raises:
        InvalidInput: the folder is missing or empty.
        Unavailable: the folder is tracked and DVC does not run.
    """
    local = fingerprint(folder)
    path = record_path(real_path(folder))
    if not path.is_file() or run_dvc(["status", "--json", path.name], path.parent).strip() not in ("", "{}"):
        return f"local-{local}"
    return parse_record(path.read_bytes(), str(path)).revision


def track(folder: Path, store: Path, *, remote: str | None = None, watch: bool = False) -> Tracked:
    """Put a data folder under DVC: its files go into the cache by hard links, its record is written beside it.

    What is not there yet is made: the DVC repository (in the git repository), and a default remote: ``remote`` (a path
    or an address), which whoever clones the repository uses too, else the folder ``store``, which is noted in
    ``.dvc/config.local`` and stays this machine's own.

    Raises:
        InvalidInput: the folder is missing or empty, not inside a git repository, or git keeps its files already.
        Unavailable: git or DVC is not installed.
    """
    irregular = [name for name in list_source(folder).files if not (folder / name).is_file()]
    if irregular:
        place = folder / printable(irregular[0])
        raise InvalidInput(f"{place}: only files can have versions, and this is none, or a link to none")
    folder = real_path(folder)
    repository = find_repository(folder)
    if repository is None:
        raise InvalidInput(f"{folder}: versions need git: run `git init` in the folder of your project first")
    if folder == repository.resolve():
        raise InvalidInput(f"{folder}: the data must be a folder inside the git repository, got the repository itself")
    kept = run_git(["ls-files", "-z", "--", str(folder)], repository).count(b"\0")
    if kept:
        raise InvalidInput(
            f"{folder}: git keeps {kept} of its files; `git rm -r --cached {folder.name}` and a commit take them out"
        )
    root = _ready_root(folder, repository, store, remote)
    path = record_path(folder)
    run_dvc(["add", folder.name], folder.parent, watch=watch)
    record = parse_record(path.read_bytes(), str(path))
    parts = [path, folder.parent / ".gitignore", root / ".dvc", root / ".dvcignore"]
    names = [str(part.relative_to(repository.resolve())) for part in parts if part.exists()]
    changed = run_git(["status", "--porcelain", "-z", "--untracked-files=all", "--", *names], repository)
    return Tracked(record, repository, tuple(sorted(line[3:] for line in changed.decode().split("\0") if line)))


def check_commit(folder: Path, tag: str | None = None) -> None:
    """Look whether git, where it keeps ``folder``, could commit with this tag, before anything is changed.

    Raises:
        InvalidInput: it does not know whose commits these are (the sentence says how to tell it), or the tag is taken,
            or none.
    """
    repository = find_repository(real_path(folder))
    if repository is None:
        return
    try:
        for who in ("AUTHOR", "COMMITTER"):
            run_git(["var", f"GIT_{who}_IDENT"], repository)
    except InvalidInput as error:
        way = "git config --global user.name 'Your Name' and git config --global user.email you@example.org"
        raise InvalidInput(f"{error}; tell git who you are first: {way}") from None
    if tag is None:
        return
    try:
        run_git(["check-ref-format", f"refs/tags/{tag}"], repository)
    except InvalidInput:
        raise InvalidInput(f"tag: must be a name that git takes, got {short(tag)}") from None
    if run_git(["tag", "--list", "--", tag], repository):
        raise InvalidInput(f"tag: must be a new one, and {tag} is there already")


def commit(tracked: Tracked, message: str, tag: str | None = None) -> str:
    """Let git keep the files of a tracked folder, and only those, and name the commit; its short id.

    Raises:
        InvalidInput: git refused.
    """
    if tracked.to_commit:
        run_git(["add", "--", *tracked.to_commit], tracked.repository)
        run_git(["commit", "--quiet", "--message", message, "--", *tracked.to_commit], tracked.repository)
    if tag is not None:
        run_git(["tag", "--", tag], tracked.repository)
    return run_git(["rev-parse", "--short", "HEAD"], tracked.repository).decode().strip()


def push(
    folder: Path | None = None, *, remote: str | None = None, every_version: bool = False, watch: bool = False
) -> str:
    """Copy what the remote lacks of a folder (of every folder that is tracked) to it; DVC's sentence of how much.

    That is the version that is here, or every version that a commit knows.

    Raises:
        InvalidInput: there is no remote, it does not let us in, or objects are in no place.
        NotFound: the folder is not tracked, or none is.
    """
    return _transfer("push", folder, remote, watch, ["--all-commits"] if every_version else [])


def pull(folder: Path | None = None, *, remote: str | None = None, force: bool = False, watch: bool = False) -> str:
    """Bring a folder (every folder that is tracked) to the state of its record, by links; DVC's sentence of how much.

    With ``force`` files that were changed or added here and are in no version are thrown away.

    Raises:
        InvalidInput: there is no remote, it does not let us in, objects are in no place, or (without ``force``) files
            were changed here.
        NotFound: the folder is not tracked, or none is.
    """
    return _transfer("pull", folder, remote, watch, ["--force"] if force else [])


def list_tracked(folder: Path) -> list[Path]:
    """The folders whose records lie in the git repository of ``folder``."""
    repository = _repository(folder)
    names = run_git(["ls-files", "-z", "--", "*.dvc"], repository).decode().split("\0")
    records = [repository / name for name in names if name and (repository / name).is_file()]
    return [path.with_suffix("") for path in records if b".dir" in path.read_bytes()]


def list_versions(folder: Path) -> list[Version]:
    """The commits, newest first, in which the record of a folder changed, with the tags that hold the same content.

    Raises:
        NotFound: the folder was never tracked.
    """
    repository, name = _record_in_git(folder)
    changes = list_changes(name, repository)
    if not changes:
        raise NotFound(f"{folder}: no commit has a record of it ({name}): hakka data track {folder} --commit")
    tags: dict[bytes, list[str]] = {}
    all_tags = list_tags(repository)
    for tag, content in zip(all_tags, read_files([f"{tag}:{name}" for tag in all_tags], repository), strict=True):
        tags.setdefault(content or b"", []).append(tag)
    return [
        Version(
            commit=change.short,
            date=change.date,
            message=change.message,
            tags=tuple(tags.get(change.content, ())) if change.content else (),
            record=_parse_or_none(change.content, f"{name} at {change.short}"),
        )
        for change in changes
    ]


def find_record(folder: Path, revision: str) -> Record:
    """What DVC remembers of a folder at a revision. Only git is asked; nothing is fetched.

    Its ``revision`` is the lasting name of the content (``dvc-<md5>``), which a branch or a tag is not.

    Raises:
        NotFound: no such revision, or the folder was not tracked at it.
        InvalidInput: the folder is not inside a git repository, or its record is broken.
    """
    present = record_path(real_path(folder))
    if revision.startswith(PREFIX):
        if present.is_file():
            here = parse_record(present.read_bytes(), str(present))
            if here.revision == revision:
                return here
        return parse_record(f"outs: [{{md5: {revision.removeprefix(PREFIX)}, hash: md5}}]".encode(), revision)
    repository, name = _record_in_git(folder)
    commit = find_commit(revision, repository)
    content = read_files([f"{commit}:{name}"], repository)[0]
    if content is None:
        raise NotFound(f"{folder}: not tracked by DVC at {revision!r}: that revision has no {name}")
    return parse_record(content, f"{name} at {revision}")


def list_files(folder: Path, record: Record, cache: Cache | None = None) -> dict[str, str]:
    """The files of a version: POSIX path relative to the folder → digest of its bytes; hidden ones are left out.

    Raises:
        NotFound: the list of files is neither in the cache nor in the remote.
        Unavailable: the remote does not let us in.
    """
    cache = cache or Cache(find_root(folder))
    cache.bring([record.md5], record, f"{folder} at {record.revision}")
    files = parse_listing(cache.path(record.md5, record).read_bytes(), record)
    return {name: oid for name, oid in files.items() if not any(part.startswith(".") for part in name.split("/"))}


def checkout(data: Path, revision: str, out: Path) -> Path:
    """The data folder as it was at a revision, as ``out/<md5>``: read-only hard links to DVC's cache.

    It appears whole or not at all. What the cache lacks is fetched from the remote first. The same content is laid out
    once, however many revisions and processes ask for it, and then taken as it lies.

    Raises:
        NotFound: no such revision, the folder was not tracked at it, or files are in neither cache nor remote.
        InvalidInput: the folder is not inside a git repository, or its record is broken.
        Tampered: a file in the cache was written to.
        Unavailable: the remote, git or DVC does not take part.
    """
    data, out = Path(data), Path(out)
    record = find_record(data, revision)
    name = record.md5.removesuffix(".dir")
    target = out / name
    if target.is_dir():
        return target
    out.mkdir(parents=True, exist_ok=True)
    with FileLock(out / f".lock-{name}"):
        if not target.is_dir():
            _lay_out(data, record, target, f"{data} at {revision}")
    return target


def _lay_out(data: Path, record: Record, target: Path, what: str) -> None:
    cache = Cache(find_root(data))
    files = list_files(data, record, cache)
    cache.bring(files.values(), record, what)
    with whole_folder(target) as scratch:
        make_folders(scratch, files)
        for name, oid in files.items():
            link_object(cache.path(oid, record), scratch / name)


def _ready_root(folder: Path, repository: Path, store: Path, remote: str | None) -> Path:
    """The DVC repository of a folder, made and given a default remote where it has none."""
    try:
        root = find_root(folder)
    except NotFound:
        root = repository.resolve()
        set_up(root)
    if remote is not None or not read_config(root)["core"].get("remote"):
        add_remote(root, remote or str(store), shared=remote is not None)
    return root


def _transfer(verb: str, folder: Path | None, remote: str | None, watch: bool, more: Sequence[str] = ()) -> str:
    options = [*more, *(["--remote", remote] if remote is not None else [])]
    if folder is None:
        out = run_dvc([verb, *_all_records(Path.cwd()), *options], Path.cwd(), watch=watch)
    else:
        path = record_path(real_path(folder))
        if not path.is_file():
            raise NotFound(f"{folder}: not tracked by DVC: there is no {path.name} beside it")
        out = run_dvc([verb, path.name, *options], path.parent, watch=watch)
    lines = [line.strip() for line in out.splitlines() if line.strip()]
    return lines[-1].removesuffix(".") if lines else "nothing to do"


def _all_records(folder: Path) -> list[str]:
    """The ways from ``folder`` to the records of its git repository; what dvc.yaml makes is no data of the user's."""
    repository = _repository(folder)
    listed = run_git(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.dvc"], repository)
    paths = [repository / name for name in sorted(set(listed.decode().split("\0"))) if name]
    ways = [os.path.relpath(path, folder) for path in paths if path.is_file()]
    if not ways:
        raise NotFound(f"{folder}: no folder is tracked here yet (hakka data track makes the first version of one)")
    return ways


def _repository(folder: Path) -> Path:
    repository = find_repository(real_path(folder))
    if repository is None:
        raise InvalidInput(f"{folder}: versions need git, and this folder is not inside a git repository")
    return repository


def _record_in_git(folder: Path) -> tuple[Path, str]:
    """The git repository of a folder, and the name of the folder's record in it."""
    repository = _repository(folder)
    return repository, record_path(real_path(folder)).relative_to(repository.resolve()).as_posix()


def _parse_or_none(content: bytes | None, place: str) -> Record | None:
    try:
        return parse_record(content, place) if content is not None else None
    except HakkaError:  # one broken commit must not hide the others
        return None

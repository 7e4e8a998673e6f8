"""What the history of a repository says about one file, by git's command line."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hakka.errors import InvalidInput, NotFound, Unavailable


@dataclass(frozen=True)
class Change:
    """One commit that changed a file; ``content`` is what the file holds from then on, None where it was removed."""

    commit: str
    short: str
    date: str
    message: str
    content: bytes | None


def run_git(arguments: Sequence[str], cwd: Path, stdin: bytes | None = None) -> bytes:
    """What ``git ARGUMENTS`` prints, run in ``cwd``.

    Raises:
        InvalidInput: git refused.
        Unavailable: git is not installed.
    """
    environ = dict(os.environ, LC_ALL="C", GIT_TERMINAL_PROMPT="0")
    try:
        done = subprocess.run(
            ["git", *arguments],  # noqa: S607
            cwd=cwd,
            env=environ,
            input=stdin,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        raise Unavailable("git is not installed: versions of the data are kept in its history") from None
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines() or ["no message"]
        message = next((line for line in lines if line.startswith(("fatal: ", "error: "))), lines[0])
        raise InvalidInput(f"git {arguments[0]}: {message.removeprefix('fatal: ').removeprefix('error: ')}")
    return done.stdout


def find_repository(folder: Path) -> Path | None:
    """The top of the work tree that ``folder`` lies in, or None if it lies in none.

    Raises:
        InvalidInput: there is one, and git refuses to use it.
    """
    present = next(part for part in (folder, *folder.parents) if part.is_dir())
    try:
        return Path(os.fsdecode(run_git(["rev-parse", "--show-toplevel"], present).rstrip(b"\n")))
    except InvalidInput as error:
        if "not a git repository" in str(error):
            return None
        raise


def find_commit(revision: str, repository: Path) -> str:
    """The commit that a revision (a commit, tag, branch, ``HEAD~1`` …) names.

    Raises:
        NotFound: there is no such revision.
    """
    try:
        if revision.startswith("-"):
            raise InvalidInput("an option")
        return run_git(["rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"], repository).decode().strip()
    except InvalidInput:
        raise NotFound(f"{repository}: git knows no revision {revision!r}") from None


def read_files(names: Sequence[str], repository: Path) -> list[bytes | None]:
    """The content of each ``REVISION:path``, None where that revision has no such file."""
    out = run_git(["cat-file", "--batch"], repository, "".join(f"{name}\n" for name in names).encode())
    contents: list[bytes | None] = []
    for _ in names:
        head, _, out = out.partition(b"\n")
        if head.endswith(b" missing"):
            contents.append(None)
            continue
        size = int(head.rsplit(b" ", 1)[1])
        contents.append(out[:size] if b" blob " in head else None)
        out = out[size + 1 :]
    return contents


def list_changes(path: str, repository: Path) -> list[Change]:
    """The commits of all branches and tags that changed the file ``path``, newest first."""
    if not run_git(["rev-list", "-n1", "--all"], repository):
        return []
    arguments = ["log", "--branches", "--tags", "--remotes", "HEAD", "--format=%H%x00%h%x00%cI%x00%s", "--", path]
    rows = [line.split("\0") for line in run_git(arguments, repository).decode(errors="replace").splitlines()]
    contents = read_files([f"{row[0]}:{path}" for row in rows], repository)
    return [
        Change(commit, short, date, message, content)
        for (commit, short, date, message), content in zip(rows, contents, strict=True)
    ]


def list_tags(repository: Path) -> list[str]:
    """The names of all tags."""
    return run_git(["tag", "--list"], repository).decode().split()

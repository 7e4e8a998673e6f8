"""DVC's command line, its configuration and its cache. Only this module knows DVC."""

import hashlib
import logging
import os
import re
import shutil
import subprocess
import sys
import termios
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from hakka.data.dvcfile import Record, object_path
from hakka.errors import InvalidInput, NotFound, Tampered, Unavailable
from hakka.files import real_path, write_whole
from hakka.signals import end_with_parent

LINKS = "hardlink,reflink,symlink,copy"
"""How files get into and out of the cache. DVC copies on ``add`` unless the hard link comes first; see the document."""

_CONFIG = f"""[core]
    analytics = false
    check_update = false
[cache]
    type = "{LINKS}"
"""
_MISSING = re.compile(r"^(?:name: .*, )?md5: [0-9a-f]{32}", re.MULTILINE)
_COLOUR = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


def run_dvc(arguments: list[str], cwd: Path, *, watch: bool = False) -> str:
    """What ``dvc ARGUMENTS`` prints, run in ``cwd`` with its analytics and update check off.

    With ``watch`` its progress bars are shown if our stderr is a terminal.

    Raises:
        InvalidInput: DVC refused.
        Unavailable: DVC is not installed, or was killed.
    """
    environ = dict(os.environ, DVC_NO_ANALYTICS="1", DO_NOT_TRACK="1", CI="true")  # CI: no update check
    command = [sys.executable, "-m", "dvc", *arguments]
    run = _run_on_terminal if watch and sys.stderr.isatty() else _run_quietly
    code, out, said = run(command, cwd, environ)
    if "No module named dvc" in said:
        raise Unavailable("dvc is not installed: pip install -r requirements/train.txt")
    if code < 0:
        raise Unavailable(f"dvc {' '.join(arguments)}: was ended by signal {-code}; run it again")
    if code != 0 or _MISSING.search(said):  # a push of which files are missing is a success for DVC
        raise InvalidInput(f"dvc {' '.join(arguments)}: {_sentence(said)}")
    return out


def find_root(folder: Path) -> Path:
    """The DVC repository that a folder lies in.

    Raises:
        NotFound: it lies in none.
    """
    for parent in real_path(folder).parents:
        if (parent / ".dvc" / "config").is_file():
            return parent
    raise NotFound(f"{folder}: not inside a DVC repository (hakka data track makes one)")


def set_up(root: Path) -> None:
    """Make a DVC repository at the top of a git repository: no telemetry, links instead of copies."""
    run_dvc(["init", "--quiet"], root)
    write_whole(root / ".dvc" / "config", _CONFIG)


def add_remote(root: Path, place: str, *, shared: bool) -> None:
    """Make a folder or an address the default remote: of everybody who clones the repository, or only here."""
    where = place if "://" in place else str(Path(place).expanduser().absolute())
    if not shared:
        run_dvc(["remote", "add", "--local", "--force", "--default", "local", where], root)
        return
    run_dvc(["remote", "add", "--force", "--default", "storage", where], root)
    with suppress(InvalidInput):  # there may be none of this machine's own, which would win
        run_dvc(["remote", "default", "--local", "--unset"], root)


def read_config(root: Path) -> dict[str, dict[str, str]]:
    """The settings of a repository, those of the machine and of the user included."""
    from dvc.config import Config

    config: dict[str, dict[str, str]] = Config(str(root / ".dvc"))
    return config


class Cache:
    """The objects of a DVC repository, those of its remote included."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = Path(read_config(root)["cache"].get("dir") or root / ".dvc" / "cache")

    def path(self, oid: str, record: Record) -> Path:
        """Where the object lies once it is here."""
        return self._folder / object_path(oid, record.legacy)

    def bring(self, oids: Collection[str], record: Record, what: str) -> None:
        """Have these objects of a version here, from the remote if need be.

        Raises:
            NotFound: some are neither here nor there, or there is no remote.
            Tampered: one was written to after it was tracked.
            Unavailable: the remote does not answer or does not let us in.
        """
        if missing := self._missing(oids, record):
            self._fetch(missing, record, f"{what}: {len(missing)} of {len(oids)} files are not in the DVC cache")
        if missing := self._missing(oids, record):
            lacking = f"{len(missing)} of {len(oids)} files"
            raise NotFound(f"{what}: {lacking} are neither in the DVC cache nor in the remote")
        for oid in oids:
            if not self.is_untouched(oid, record):
                self._check(oid, record)

    def is_untouched(self, oid: str, record: Record) -> bool:
        """True if an object that is here was last written to before the list of its version was.

        DVC writes the list last, so whoever wrote through one of the object's links came later. An object that was
        fetched may be later than the list, too, and is none the worse.
        """
        return self.path(oid, record).stat().st_mtime_ns <= self.path(record.md5, record).stat().st_mtime_ns

    def _check(self, oid: str, record: Record) -> None:
        path = self.path(oid, record)
        if record.legacy:  # DVC 2 took the digest of a text with other line ends
            return
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if digest != oid.removesuffix(".dir"):
            raise Tampered(f"{path}: must have the MD5 {oid} as when it was tracked, got {digest}; remove it and pull")

    def _fetch(self, oids: Iterable[str], record: Record, lacking: str) -> None:
        remote = record.remote or read_config(self._root)["core"].get("remote")
        if remote is None:
            raise NotFound(f"{lacking}, and there is no remote to fetch them from")
        try:
            _pull_objects(self._root, oids, record)
        except Exception as error:  # a remote's client raises what it likes
            raise Unavailable(f"{lacking}, and remote {remote!r} cannot be read: {_first_line(error)}") from None

    def _missing(self, oids: Iterable[str], record: Record) -> list[str]:
        return sorted(oid for oid in set(oids) if not self.path(oid, record).is_file())


def make_folders(top: Path, files: Iterable[str]) -> None:
    """The folders that ``files`` (paths relative to ``top``) need."""
    for folder in sorted({name.rpartition("/")[0] for name in files}):
        (top / folder).mkdir(parents=True, exist_ok=True)


def link_object(source: Path, target: Path) -> None:
    """Give an object of the cache a second name: a hard link, else a symbolic link, else (no links at all) a copy.

    A hard link is refused across file systems, and where the object belongs to another user who lets us only read it.
    """
    for link in (os.link, os.symlink, shutil.copyfile):
        try:
            link(source, target)
            return
        except OSError:
            if link is shutil.copyfile:
                raise


def _pull_objects(root: Path, oids: Iterable[str], record: Record) -> None:
    from dvc.repo import Repo
    from dvc_data.hashfile.hash_info import HashInfo

    for name in ("dvc", "dvc_data", "dvc_objects"):  # its bars are welcome, its messages become ours
        logging.getLogger(name).handlers = [logging.NullHandler()]
        logging.getLogger(name).setLevel(logging.INFO)
        logging.getLogger(name).propagate = False
    kind = "md5-dos2unix" if record.legacy else "md5"
    with Repo(str(root)) as repo:
        repo.cloud.pull([HashInfo(kind, oid) for oid in oids], remote=record.remote)


def _run_quietly(command: list[str], cwd: Path, environ: dict[str, str]) -> tuple[int, str, str]:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        preexec_fn=end_with_parent,
    )
    return done.returncode, done.stdout, done.stderr


def _run_on_terminal(command: list[str], cwd: Path, environ: dict[str, str]) -> tuple[int, str, str]:
    """Run with a stderr that is a terminal, so that DVC draws its bars; we pass on all but its messages of failure."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, termios.tcgetwinsize(sys.stderr))
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        preexec_fn=end_with_parent,
    ) as process:
        os.close(theirs)
        said = b""
        try:
            while chunk := _read(ours):
                said += chunk
                if b"ERROR" not in said and b"WARNING" not in said:
                    os.write(sys.stderr.fileno(), chunk)
        except BaseException:
            process.terminate()
            raise
        finally:
            os.close(ours)
        out = process.stdout.read().decode(errors="replace") if process.stdout else ""
    return process.returncode, out, _COLOUR.sub(b"", said).decode(errors="replace").replace("\r", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # EIO: the other side is closed
        return b""


def _sentence(said: str) -> str:
    """What went wrong, out of all that DVC said."""
    missing = len(_MISSING.findall(said))
    if missing:
        return f"{missing} files of this version are neither in the cache nor in the remote"
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["no message"]
    message = next((line for line in lines if line.startswith("ERROR: ")), lines[-1]).removeprefix("ERROR: ")
    if "no remote" in said.lower():
        return "there is no remote: dvc remote add --default NAME URL, or --remote NAME"
    return message


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)

"""Which folder a run reads, and by which name its version goes."""

from contextlib import suppress
from pathlib import Path

from hakka.data.fingerprint import fingerprint
from hakka.errors import HakkaError, InvalidInput

LOCAL = "local-"


def pin(data: Path, wanted: str, versions: Path) -> tuple[str, str]:
    """The folder that holds the wanted version of a data folder, and the lasting name of the version.

    ``wanted`` is empty for the folder as it lies, named by its version if DVC tracks it and it has not changed since,
    else by its fingerprint; the name that ``hakka.data.versions.revision`` gives it now, for the folder as it lies too;
    or a git revision (tag, branch, commit) or ``dvc-<md5>``, which is laid out under ``versions`` by links to DVC's
    cache.

    Raises:
        InvalidInput: the folder is missing, empty, not in a git repository, or has changed since it had a local name.
        NotFound: there is no such revision, or the folder was not tracked at it.
        Unavailable: git, DVC or its remote does not take part.
    """
    from hakka.data.versions import PREFIX, checkout, find_record, revision

    if not wanted:
        with suppress(HakkaError):  # a record without its repository, or no DVC: the folder has a name all the same
            return str(data), revision(data).removeprefix(LOCAL)
        return str(data), fingerprint(data)

    if wanted.startswith((PREFIX, LOCAL)):
        present = revision(data)
        if present == wanted:
            return str(data), wanted
        if wanted.startswith(LOCAL):
            raise InvalidInput(f"{data}: must still be {wanted}, but it has changed: it is {present}")
    return str(checkout(data, wanted, versions)), find_record(data, wanted).revision

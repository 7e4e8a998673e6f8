"""The process that helps ``hakka.data.files_out`` to create files: ``python -I -S second_writer.py FOLDER``.

It takes batches from its standard input and answers each that is written with a byte. It is started without the
packages of the environment, to be there within milliseconds: only the standard library is imported.
"""

import errno
import marshal
import os
import sys
from collections.abc import Iterable

Batch = list[tuple[str, bytes]]  # names in the folder, and contents


def create_files(folder: int, batch: Iterable[tuple[str, bytes]]) -> None:
    """Write files that are not there yet, by name, into the folder that is open as descriptor ``folder``.

    Raises:
        OSError: a file cannot be written, or is there already.
    """
    for name, content in batch:
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=folder)
        try:
            while content:
                content = content[os.write(handle, content) :]
        finally:
            os.close(handle)


def main() -> int:
    """Write until there is nothing more to read; the exit code is the system's number of the error that ended it."""
    folder = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
    try:
        with os.fdopen(0, "rb") as orders:
            while orders.peek(1):
                create_files(folder, marshal.load(orders))  # noqa: S302  (from the parent)
                os.write(1, b".")
    except OSError as error:
        return error.errno or errno.EIO
    return 0


if __name__ == "__main__":
    sys.exit(main())

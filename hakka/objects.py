"""Files of this machine or of an object store (s3://bucket/prefix and whatever else fsspec knows), by one address."""

import os
from pathlib import Path
from typing import Any

from hakka.errors import Unavailable

Place = str | Path


def is_remote(place: Place) -> bool:
    """Whether a place is a URL and no path of this machine."""
    return not isinstance(place, Path) and "://" in place


def read_place(text: str) -> Place:
    """A place as a command line names it: a URL stays text, everything else is a path."""
    return text if is_remote(text) else Path(text)


def open_url(url: str) -> tuple[Any, str]:
    """The fsspec file system behind a URL, and the path in it, without a slash at its end.

    Raises:
        Unavailable: nothing that is installed knows this kind of URL.
    """
    import fsspec

    try:
        files, root = fsspec.url_to_fs(url)
    except (ImportError, ValueError) as error:
        if not url.startswith("s3://"):
            raise Unavailable(f"{url} cannot be opened: {error}") from None
        files, root = _arrow_s3(), url.removeprefix("s3://")
    return files, str(root).rstrip("/")


def unreachable(place: str, error: BaseException) -> Unavailable:
    """The error for a store that did not answer, or not as it should."""
    return Unavailable(f"{place} cannot be reached: {' '.join(str(error).split())[:200] or type(error).__name__}")


def _arrow_s3() -> Any:
    """S3 by pyarrow, for the images that do without s3fs."""
    from fsspec.implementations.arrow import ArrowFSWrapper
    from pyarrow.fs import S3FileSystem

    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return ArrowFSWrapper(S3FileSystem(endpoint_override=endpoint))

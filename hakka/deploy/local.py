"""A server on this machine follows the registry's channel by itself: here one waits until it has."""

import http.client
import json
import time
import urllib.request
from urllib.error import HTTPError

from hakka.detector.modelfile import VERSION
from hakka.errors import InvalidInput, Unavailable
from hakka.settings import read_settings

MODEL = "hakka"
NOT_RUNNING = "not running: `hakka serve` will serve it"


def deploy(version: str, *, endpoint: str | None = None, deadline: float = 60.0) -> str:
    """``serving`` as soon as the endpoint names ``version``, or at once a sentence that no Hakka server runs there.

    ``endpoint`` is by default that of the settings; ``deadline`` is in seconds.

    Raises:
        InvalidInput: ``version`` is not 12 hex digits.
        Unavailable: the endpoint still served another version at the deadline.
    """
    if not VERSION.fullmatch(version):
        raise InvalidInput(f"version must be 12 hex digits, got {version!r}")
    endpoint = endpoint or read_settings().endpoint
    end = time.monotonic() + deadline
    while (served := served_version(endpoint)) != version:
        if served is None:
            return NOT_RUNNING
        if time.monotonic() >= end:
            raise Unavailable(f"{endpoint}: must serve version {version} within {deadline:g} s, still serves {served}")
        time.sleep(0.2)
    return "serving"


def served_version(endpoint: str) -> str | None:
    """The version that the endpoint names in its v2 metadata; None if what is there, if anything, is not Hakka."""
    # A proxy of the environment is for the world outside, not for an endpoint of one's own.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{endpoint}/v2/models/{MODEL}", timeout=10) as response:
            return str(json.load(response)["versions"][-1])
    except (HTTPError, OSError, http.client.HTTPException, ValueError, KeyError, IndexError, TypeError):
        return None

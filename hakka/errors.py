"""Every error that Hakka raises on purpose.

HakkaError
├── InvalidInput      what the user gave is not usable: bad data, bad parameter, missing file   (exit 2)
├── CheckFailed       a data check, the gate or the drift watch said no                        (exit 1)
├── NotFound          a version, channel, dataset or weight that was named does not exist       (exit 2)
├── Tampered          stored bytes do not have the digest they are addressed by                 (exit 2)
└── Unavailable       an endpoint, a cluster or a disk did not take part                        (exit 2)

A message is one sentence that states the rule, the value and the place:
``box 3 of IMG_12.json: width must be > 0, got -4``.
"""


class HakkaError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is what the command line returns."""

    exit_code = 2


class InvalidInput(HakkaError):
    """What the user gave is not usable."""


class CheckFailed(HakkaError):
    """A check ran to its end and its answer is no."""

    exit_code = 1


class NotFound(HakkaError):
    """Something that was named does not exist."""


class Tampered(HakkaError):
    """Stored bytes do not have the digest they are addressed by."""


class Unavailable(HakkaError):
    """A server, a cluster or a disk did not take part."""

"""What each error means to a caller: status over REST, code over gRPC, reason in the metrics."""

from dataclasses import dataclass

from hakka.errors import InvalidInput, NotFound
from serving import metrics
from serving.admission import Busy, Expired
from serving.framework import KServeInvalidInput, ModelNotFound, ModelNotReady
from serving.photos import UnusablePhoto
from serving.reads import Slow
from serving.texts import TooLarge

INTERNAL = "the server failed to answer; its log says why"


@dataclass(frozen=True)
class Refusal:
    """How an error is answered; ``code`` is a name of grpc.StatusCode, ``reason`` one of the metrics' or None."""

    status: int
    code: str
    reason: str | None


REFUSALS: dict[type[BaseException], Refusal] = {
    InvalidInput: Refusal(400, "INVALID_ARGUMENT", "bad_request"),
    KServeInvalidInput: Refusal(400, "INVALID_ARGUMENT", "bad_request"),
    TooLarge: Refusal(413, "RESOURCE_EXHAUSTED", "too_large"),
    UnusablePhoto: Refusal(400, "INVALID_ARGUMENT", "bad_image"),
    NotFound: Refusal(404, "NOT_FOUND", None),
    ModelNotFound: Refusal(404, "NOT_FOUND", None),
    ModelNotReady: Refusal(503, "UNAVAILABLE", None),
    Busy: Refusal(429, "RESOURCE_EXHAUSTED", "busy"),
    Expired: Refusal(504, "DEADLINE_EXCEEDED", "expired"),
    Slow: Refusal(408, "DEADLINE_EXCEEDED", "slow_body"),
}
FAILURE = Refusal(500, "INTERNAL", "internal")


def refuse(error: BaseException) -> Refusal:
    """How to answer an error, counted; what nobody raised on purpose is a failure of ours."""
    refusal = next((REFUSALS[kind] for kind in type(error).__mro__ if kind in REFUSALS), FAILURE)
    if refusal.reason is not None:
        metrics.refused(refusal.reason)
    return refusal

"""What Prometheus sees at ``/metrics``. Every name, label and bucket stands here; labels have few values.

A request costs some ten updates of a few hundred nanoseconds each. Counts that others keep anyway (the queue, the log)
are read when Prometheus asks.
"""

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

PROTOCOLS = ("v1", "v2", "grpc")
# ok: answered · refused: the request's fault · busy: the queue is full · expired: its deadline passed · gone: the
# client left before its answer · error: our fault
OUTCOMES = ("ok", "refused", "busy", "expired", "gone", "error")
STAGES = ("decode", "queue", "infer", "encode")
REASONS = ("bad_request", "bad_image", "too_large", "busy", "expired", "slow_body", "internal")
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
CONFIDENCES = tuple(step / 20 for step in range(1, 21))
# Class names of all versions that were served since the start; what comes after that many counts as one.
MAX_CLASSES = 1000
OTHER_CLASSES = "(other)"

_requests = Counter("hakka_requests", "Requests for detection by how they ended", ["protocol", "outcome"])
_seconds = Histogram(
    "hakka_request_seconds",
    "Time from a request's headers to its answer, answered requests",
    ["protocol"],
    buckets=SECONDS,
)
_stages = Histogram("hakka_stage_seconds", "Time of a photo in one stage of its request", ["stage"], buckets=SECONDS)
_refused = Counter("hakka_refused", "Requests that were refused, by reason", ["reason"])

# Series are made once: finding one by its labels costs more than updating it. They show as 0 until something happens.
_REQUEST = {(p, o): _requests.labels(p, o) for p in PROTOCOLS for o in OUTCOMES}
_SECONDS = {protocol: _seconds.labels(protocol) for protocol in PROTOCOLS}
_STAGE = {name: _stages.labels(name) for name in STAGES}
_REFUSED = {reason: _refused.labels(reason) for reason in REASONS}


def stage(name: str, seconds: float) -> None:
    """One photo took so long in a stage; from any thread."""
    _STAGE[name].observe(seconds)


@contextmanager
def timed(name: str) -> Iterator[None]:
    """The block is one photo's stage; it counts if it ends well."""
    start = time.perf_counter()
    yield
    _STAGE[name].observe(time.perf_counter() - start)


def refused(reason: str) -> None:
    """A request was refused; ``reason`` is one of ``REASONS``."""
    _REFUSED[reason].inc()


def request(protocol: str, outcome: str, seconds: float) -> None:
    """A request ended; the time counts only for those that were answered."""
    _REQUEST[protocol, outcome].inc()
    if outcome == "ok":
        _SECONDS[protocol].observe(seconds)


class Found(Collector):
    """Detections by class, and their confidences as a histogram: one cheap update for all boxes of a photo."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._classes: dict[str, int] = {}
        self._confidences = [0] * (len(CONFIDENCES) + 1)
        self._sum = 0.0

    def add(self, labels: Iterable[str], scores: Sequence[float]) -> None:
        """Count the boxes of one answer."""
        with self._lock:
            for label in labels:
                known = label in self._classes or len(self._classes) < MAX_CLASSES
                name = label if known else OTHER_CLASSES
                self._classes[name] = self._classes.get(name, 0) + 1
            for score in scores:
                self._confidences[bisect_left(CONFIDENCES, score)] += 1
                self._sum += score

    def collect(self) -> Iterator[Metric]:
        """The two families."""
        with self._lock:
            classes, confidences, total = dict(self._classes), list(self._confidences), self._sum
        family = CounterMetricFamily("hakka_detections", "Boxes found, by class", labels=["class"])
        for name, count in classes.items():
            family.add_metric([name], count)
        yield family
        buckets, below = [], 0
        for edge, count in zip([*map(str, CONFIDENCES), "+Inf"], confidences, strict=True):
            below += count
            buckets.append((edge, below))
        yield HistogramMetricFamily("hakka_confidence", "Confidence of boxes found", buckets=buckets, sum_value=total)


class Readings(Collector):
    """What is read when Prometheus asks: gauges and counters by name, and the labels of what is served."""

    def __init__(
        self,
        gauges: dict[str, tuple[str, Callable[[], float]]],
        counters: dict[str, tuple[str, Callable[[], float]]],
        served: Callable[[], dict[str, str]],
    ) -> None:
        self._gauges = gauges
        self._counters = counters
        self._served = served

    def collect(self) -> Iterator[Metric]:
        """One family a reading; ``hakka_model_info`` is 1 for what is served and has no other series."""
        for name, (text, read) in self._gauges.items():
            yield GaugeMetricFamily(name, text, value=read())
        for name, (text, read) in self._counters.items():
            yield CounterMetricFamily(name, text, value=read())
        labels = self._served()
        info = GaugeMetricFamily("hakka_model_info", "1 for the model version that is served", labels=list(labels))
        info.add_metric(list(labels.values()), 1)
        yield info


found = Found()
REGISTRY.register(found)


def show(readings: Readings) -> None:
    """Add readings to what Prometheus sees, for the rest of the process's life."""
    REGISTRY.register(readings)

"""The KServe endpoint, as the app and ``hakka predict`` see it: typed answers, one sentence when something is wrong."""

import base64
from dataclasses import dataclass
from typing import Any

import httpx

from hakka.errors import InvalidInput, Unavailable

MODEL = "hakka"
PHOTO_PLACE = "instances[0].image.b64"  # the cook gave a photo, not a request that has such a place
DEFAULT_CONFIDENCE = 0.25  # used when the endpoint does not name the model's own threshold


@dataclass(frozen=True)
class Model:
    """What the endpoint says about the model that it serves."""

    version: str | None
    confidence: float


@dataclass(frozen=True)
class Detection:
    """One find: corners (left, top, right, bottom) in pixels of the upright photo, class name, confidence 0–1."""

    box: tuple[float, float, float, float]
    name: str
    confidence: float


@dataclass(frozen=True)
class Prediction:
    """All finds in one photo; ``width`` and ``height`` are those of the upright photo, in pixels."""

    prediction_id: str
    model_version: str
    width: int
    height: int
    detections: tuple[Detection, ...]


class Endpoint:
    """A Hakka endpoint. Requests go straight to it: proxies of the environment are not used for photos.

    One endpoint may be used by many threads; it keeps its connections open between calls.

    Every call raises ``Unavailable`` when the endpoint does not answer, is not ready or is not Hakka's, and
    ``InvalidInput`` with the endpoint's own sentence when it refuses the photo.
    """

    def __init__(self, url: str, *, timeout: float = 30.0) -> None:
        self.url = url.rstrip("/")
        self._client = httpx.Client(timeout=httpx.Timeout(timeout, connect=3.0), trust_env=False)

    def model(self) -> Model:
        """The served model's version and default confidence."""
        answer = self._call("GET", f"/v2/models/{MODEL}")
        return Model(version=_find_version(answer), confidence=_find_confidence(answer))

    def detect(self, photo: bytes, confidence: float) -> Prediction:
        """Everything that the model finds in ``photo`` (JPEG, PNG or WebP bytes) with at least ``confidence``."""
        return _read_prediction(self.answer(photo, confidence))

    def answer(self, photo: bytes, confidence: float | None = None) -> dict[str, Any]:
        """The v1 answer for one photo, as sent: ``prediction_id``, ``model_version``, ``image``, ``detections``."""
        instance: dict[str, Any] = {"image": {"b64": base64.b64encode(photo).decode()}}
        if confidence is not None:
            instance["confidence"] = confidence
        answer = self._call("POST", f"/v1/models/{MODEL}:predict", {"instances": [instance]})
        try:
            prediction: dict[str, Any] = answer["predictions"][0]
            _read_prediction(prediction)
        except (KeyError, IndexError, TypeError, ValueError):
            raise self._strange() from None
        return prediction

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            response = self._client.request(method, self.url + path, json=body)
        except httpx.TimeoutException:
            raise Unavailable(f"The detector at {self.url} took too long to answer; try again.") from None
        except (httpx.HTTPError, httpx.InvalidURL):
            raise Unavailable(
                f"The detector at {self.url} does not answer: start it with `make serve`, then try again."
            ) from None
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if response.is_success and isinstance(answer, dict):
            return answer
        raise self._refusal(response.status_code, answer)

    def _refusal(self, status: int, answer: Any) -> InvalidInput | Unavailable:
        """The error for an answer that is not a result: 400 and 413 blame the photo, all others the endpoint.

        408 and 429 are an endpoint that has too much to do.
        """
        said = answer.get("error") if isinstance(answer, dict) else None
        if status in (400, 413) and isinstance(said, str):
            return InvalidInput(_about_the_photo(said))
        if (status >= 500 or status in (408, 429)) and isinstance(said, str):
            return Unavailable(f"The detector at {self.url} could not answer: {said}")
        return self._strange(status)

    def _strange(self, status: int | None = None) -> Unavailable:
        seen = f" (status {status})" if status and status != 200 else ""
        return Unavailable(
            f"What answers at {self.url} is not a Hakka detector{seen}: set HAKKA_ENDPOINT to its address."
        )


def _about_the_photo(refusal: str) -> str:
    """The endpoint's sentence, with the photo called a photo."""
    return f"The photo {refusal.removeprefix(PHOTO_PLACE).lstrip(': ')}" if refusal.startswith(PHOTO_PLACE) else refusal


def _find_version(answer: dict[str, Any]) -> str | None:
    versions = answer.get("versions")
    return str(versions[-1]) if isinstance(versions, list) and versions else None


def _find_confidence(answer: dict[str, Any]) -> float:
    parameters = answer.get("parameters")
    thresholds = parameters.get("thresholds") if isinstance(parameters, dict) else None
    given = thresholds.get("confidence") if isinstance(thresholds, dict) else None
    return float(given) if isinstance(given, int | float) and 0 <= given <= 1 else DEFAULT_CONFIDENCE


def _read_prediction(row: dict[str, Any]) -> Prediction:
    return Prediction(
        prediction_id=str(row["prediction_id"]),
        model_version=str(row["model_version"]),
        width=int(row["image"]["width"]),
        height=int(row["image"]["height"]),
        detections=tuple(_read_detection(item) for item in row["detections"]),
    )


def _read_detection(item: dict[str, Any]) -> Detection:
    left, top, right, bottom = (float(value) for value in item["box"])
    return Detection((left, top, right, bottom), str(item["name"]), float(item["confidence"]))

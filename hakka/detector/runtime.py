"""A photo's pixels to boxes, without torch and without ultralytics: ``load_detector`` makes a :class:`Detector`."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from hakka.boxes import Array
from hakka.detector.decode import Photo
from hakka.detector.fit import PAD_VALUE, input_shape, letterbox
from hakka.detector.inference import Inference, Plan, open_inference
from hakka.detector.modelfile import ModelInfo, read_model_info

CAMERA_SHAPES = ((8, 8), (6, 8), (8, 6))  # height and width


@dataclass(frozen=True)
class Detections:
    """What was found, best first: boxes (n, 4) float32 xyxy in pixels of the given image, scores and class ids (n,)."""

    boxes: Array
    scores: Array
    class_ids: Array

    def __post_init__(self) -> None:
        n = len(self.scores)
        if self.boxes.shape != (n, 4) or self.class_ids.shape != (n,):
            raise ValueError(
                f"detections: shapes must be (n, 4), (n,), (n,), got {self.boxes.shape}, "
                f"{self.scores.shape}, {self.class_ids.shape}"
            )

    def __len__(self) -> int:
        return len(self.scores)


def image_features(image: Array) -> dict[str, float]:
    """What the log keeps of a picture: width and height in pixels, and brightness, blur and colours.

    ``brightness`` is the mean grey value and ``red``, ``green``, ``blue`` and ``saturation`` (HSV) are means too, all
    0–255; ``blur`` is the variance of the Laplacian. They are taken at a width of at most 256 pixels, so they do not
    depend on the camera's resolution; or they are means that do not depend on it.
    """
    import cv2

    small = cv2.resize(image, _feature_size(image), interpolation=cv2.INTER_LINEAR)
    red, green, blue, _ = cv2.mean(image)
    return {
        "width": float(image.shape[1]),
        "height": float(image.shape[0]),
        **brightness_and_blur(image),
        "red": red,
        "green": green,
        "blue": blue,
        "saturation": cv2.mean(cv2.cvtColor(small, cv2.COLOR_RGB2HSV))[1],
    }


def brightness_and_blur(image: Array) -> dict[str, float]:
    """These two of ``image_features``, for where the others are not needed: all of them take half as long again."""
    import cv2

    # Reducing by area is what keeps blur comparable, and slow: it is done to the one channel that needs it.
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), _feature_size(image), interpolation=cv2.INTER_AREA)
    blur = float(cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))[1].item() ** 2)
    return {"brightness": float(grey.mean()), "blur": blur}


def _feature_size(image: Array) -> tuple[int, int]:
    """Width and height that features are taken at: at most 256 pixels."""
    height, width = image.shape[:2]
    scale = min(1.0, 256 / max(width, height))
    return max(round(width * scale), 1), max(round(height * scale), 1)


def photo_features(photo: Photo) -> dict[str, float]:
    """See ``image_features``; the size is that of the original."""
    return {**image_features(photo.pixels), "width": float(photo.width), "height": float(photo.height)}


class Detector:
    """A loaded model. ``detect`` may be called from several threads at once."""

    def __init__(self, folder: Path, info: ModelInfo, plan: Plan) -> None:
        self.folder = folder
        self.info = info
        self._plan = plan
        self._canvases = threading.local()

    @property
    def names(self) -> tuple[str, ...]:
        """Class names by class id."""
        return self.info.names

    @cached_property
    def inference(self) -> Inference:
        """The compiled model, which also says how it runs."""
        return open_inference(self.folder, self.info.imgsz, self._plan)

    def warm_up(self) -> None:
        """Compile and run once each way and shape of a camera, so that the first photo is not slower than the next."""
        for shape in CAMERA_SHAPES if self.inference.flexible else CAMERA_SHAPES[:1]:
            photo = np.full((*shape, 3), PAD_VALUE, np.uint8)
            for alone in (True, False):
                self.detect(photo, alone=alone)

    def detect(
        self,
        image: Array,
        *,
        confidence: float | None = None,
        iou: float | None = None,
        max_detections: int = 300,
        classes: Iterable[int] | None = None,
        alone: bool = True,
    ) -> Detections:
        """What is on an RGB image (height, width, 3) uint8; thresholds default to the model's own.

        ``alone`` False says that other photos are in work too: then fewer threads work on this one.
        """
        confidence = self.info.confidence if confidence is None else confidence
        iou = self.info.iou if iou is None else iou
        shape = input_shape(image, self.info.imgsz, self.info.stride if self.inference.flexible else None)
        pixels, scale, left, top = letterbox(image, shape, self._canvas(shape))
        runner = self.inference.wide if alone else self.inference.narrow
        output = runner(pixels[None])[0]
        boxes, scores, class_ids = read_output(output, confidence, iou)
        if classes is not None:
            wanted = np.isin(class_ids, np.fromiter(classes, dtype=int))
            boxes, scores, class_ids = boxes[wanted], scores[wanted], class_ids[wanted]
        height, width = image.shape[:2]
        boxes = (boxes - [left, top, left, top]) / scale
        boxes = np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)
        order = np.argsort(-scores, kind="stable")[:max_detections]
        return Detections(boxes[order], scores[order].astype(np.float32), class_ids[order])

    def _canvas(self, shape: tuple[int, int]) -> Array:
        """The model's input (height, width, 3), in memory that this thread uses again and again."""
        if not hasattr(self._canvases, "memory"):
            self._canvases.memory = np.empty(self.info.imgsz**2 * 3, np.uint8)
        return np.asarray(self._canvases.memory[: shape[0] * shape[1] * 3].reshape(*shape, 3))


def read_output(output: Array, confidence: float, iou: float) -> tuple[Array, Array, Array]:
    """Boxes (xyxy in pixels of the model's input), scores and class ids of one image's raw output.

    Two layouts are known: (n, 6) rows of left, top, right, bottom, score, class from an NMS-free head, and
    (4 + classes, anchors) with centre, size and class scores, of which each anchor keeps its best class and which go
    through NMS here.
    """
    if output.ndim == 2 and output.shape[1] == 6:
        kept = output[output[:, 4] >= confidence]
        return kept[:, :4], kept[:, 4], kept[:, 5].astype(int)
    best = output[4:].argmax(axis=0)
    anchors = np.flatnonzero(output[4:].max(axis=0) >= confidence)
    classes = best[anchors]
    scores = output[4:][classes, anchors]
    x, y, w, h = output[:4, anchors]
    boxes = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1)
    if not len(scores):
        return boxes, scores, classes
    import cv2

    kept_rows = np.asarray(
        cv2.dnn.NMSBoxesBatched(
            np.stack([boxes[:, 0], boxes[:, 1], w, h], axis=1).tolist(),
            scores.tolist(),
            classes.tolist(),
            confidence,
            iou,
        ),
        dtype=int,
    ).reshape(-1)
    return boxes[kept_rows], scores[kept_rows], classes[kept_rows]


def load_detector(folder: Path, plan: Plan | None = None) -> Detector:
    """The detector of a model folder, files checked against their digests; without a plan one photo gets every core.

    Raises:
        NotFound: the folder holds no model.
        Tampered: a file does not have the digest that ``model.json`` names.
    """
    return Detector(folder, read_model_info(folder), plan or Plan())

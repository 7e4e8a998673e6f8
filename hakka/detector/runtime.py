"""Photo bytes to boxes, without torch and without ultralytics.

``decode_image`` makes pixels of untrusted bytes, ``load_detector`` makes a :class:`Detector` of a model folder.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from hakka.boxes import Array
from hakka.detector.engine import openvino_core
from hakka.detector.modelfile import ModelInfo, read_model_info
from hakka.errors import InvalidInput

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_PIXELS = 64_000_000
PAD_VALUE = 114  # the grey that YOLO models see beside a photo that is not square


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


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Array:
    """RGB pixels (height, width, 3) uint8 of a JPEG, PNG or WebP file, turned upright by its EXIF orientation.

    Raises:
        InvalidInput: the bytes are no such image, are cut short, or hold more than ``max_pixels`` pixels.
    """
    from PIL import Image, ImageOps

    if not data:
        raise InvalidInput("image: must not be empty, got 0 bytes")
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise InvalidInput(f"image: must hold at most {max_pixels} pixels, got {image.width}x{image.height}")
            image.load()
            upright = ImageOps.exif_transpose(image)
            return np.asarray(_to_rgb(upright))
    except InvalidInput:
        raise
    except Exception as error:  # Pillow raises many kinds on hostile bytes; all mean the same to the sender
        reason = " ".join(str(error).split())[:120]
        if "cannot identify image file" in reason:
            reason = "the bytes are none of these"
        raise InvalidInput(f"image: must be a whole JPEG, PNG or WebP file: {reason}") from None


def _to_rgb(image: Any) -> Any:
    """Any Pillow mode as RGB; what is transparent turns white; 16-bit grey is scaled, not cut."""
    from PIL import Image

    if image.mode.startswith("I"):
        pixels = np.asarray(image, dtype=np.float32)
        return Image.fromarray((pixels / 257).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def image_features(image: Array) -> dict[str, float]:
    """What the drift watch looks at: width and height in pixels, brightness 0–255, blur (variance of the Laplacian).

    Brightness and blur are taken at a width of at most 256 pixels, so they do not depend on the camera's resolution.
    """
    import cv2

    height, width = image.shape[:2]
    scale = min(1.0, 256 / max(width, height))
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    grey = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    return {
        "width": float(width),
        "height": float(height),
        "brightness": float(grey.mean()),
        "blur": float(cv2.Laplacian(grey, cv2.CV_64F).var()),
    }


def letterbox(image: Array, size: int) -> tuple[Array, float, float, float]:
    """The image fitted into a ``size`` square with grey beside it; and scale, left and top of the photo in it."""
    import cv2

    height, width = image.shape[:2]
    scale = min(size / width, size / height)
    new_width, new_height = max(round(width * scale), 1), max(round(height * scale), 1)
    if (new_width, new_height) != (width, height):
        image = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    left, top = (size - new_width) // 2, (size - new_height) // 2
    canvas = np.full((size, size, 3), PAD_VALUE, np.uint8)
    canvas[top : top + new_height, left : left + new_width] = image
    return canvas, scale, float(left), float(top)


class Detector:
    """A loaded model. ``detect`` may be called from several threads at once."""

    def __init__(self, folder: Path, info: ModelInfo, threads: int = 0) -> None:
        self.folder = folder
        self.info = info
        self._threads = threads

    @property
    def names(self) -> tuple[str, ...]:
        """Class names by class id."""
        return self.info.names

    @cached_property
    def _compiled(self) -> Any:
        core = openvino_core()
        # OpenVINO chooses bf16 on some CPUs, which is slower there and less exact.
        config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if self._threads:
            config["INFERENCE_NUM_THREADS"] = self._threads
        return core.compile_model(core.read_model(self.folder / "model.xml"), "CPU", config)

    def warm_up(self) -> None:
        """Compile and run once, so that the first photo is not slower than the next."""
        self.detect(np.full((8, 8, 3), PAD_VALUE, np.uint8))

    def detect(
        self,
        image: Array,
        *,
        confidence: float | None = None,
        iou: float | None = None,
        max_detections: int = 300,
        classes: Iterable[int] | None = None,
    ) -> Detections:
        """What is on an RGB image (height, width, 3) uint8; thresholds default to the model's own."""
        confidence = self.info.confidence if confidence is None else confidence
        iou = self.info.iou if iou is None else iou
        square, scale, left, top = letterbox(image, self.info.imgsz)
        tensor = (square.transpose(2, 0, 1)[None].astype(np.float32)) / 255
        output = self._compiled.create_infer_request().infer([tensor])[0][0]
        boxes, scores, class_ids = read_output(output, confidence, iou)
        if classes is not None:
            wanted = np.isin(class_ids, np.fromiter(classes, dtype=int))
            boxes, scores, class_ids = boxes[wanted], scores[wanted], class_ids[wanted]
        height, width = image.shape[:2]
        boxes = (boxes - [left, top, left, top]) / scale
        boxes = np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)
        order = np.argsort(-scores, kind="stable")[:max_detections]
        return Detections(boxes[order], scores[order].astype(np.float32), class_ids[order])


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


def load_detector(folder: Path, *, threads: int = 0) -> Detector:
    """The detector of a model folder, files checked against their digests; ``threads`` 0 lets the engine choose.

    Raises:
        NotFound: the folder holds no model.
        Tampered: a file does not have the digest that ``model.json`` names.
    """
    return Detector(folder, read_model_info(folder), threads)

"""The two wire protocols, the way out: answers → response documents and bytes. Pure, like ``protocol``."""

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from hakka.boxes import Array
from serving.protocol import OUTPUTS, Answer, V2Request


def v1_response(answers: Sequence[Answer]) -> dict[str, Any]:
    """The document that answers a ``:predict`` request, one prediction an instance, in order."""
    return {"predictions": [_prediction(answer) for answer in answers]}


def _prediction(answer: Answer) -> dict[str, Any]:
    found = zip(answer.boxes, answer.class_ids, answer.labels, answer.scores, strict=True)
    return {
        "prediction_id": answer.prediction_id,
        "model_version": answer.version,
        "image": {"width": answer.width, "height": answer.height},
        "detections": [
            {
                "box": [round(float(side), 2) for side in box],
                "class_id": int(number),
                "name": label,
                "confidence": round(float(score), 4),
            }
            for box, number, label, score in found
        ],
    }


def output_tensors(answer: Answer) -> dict[str, Array]:
    """The v2 outputs by name; ``labels`` is an object array of str."""
    return {
        "boxes": np.ascontiguousarray(answer.boxes, np.float32).reshape(-1, 4),
        "scores": np.ascontiguousarray(answer.scores, np.float32),
        "class_ids": np.ascontiguousarray(answer.class_ids, np.int32),
        "labels": np.array(answer.labels, dtype=object),
    }


def response_parameters(answer: Answer) -> dict[str, Any]:
    """What a v2 response says beside its tensors."""
    return {
        "prediction_id": answer.prediction_id,
        "model_version": answer.version,
        "width": answer.width,
        "height": answer.height,
    }


def v2_response(answer: Answer, request: V2Request, model_name: str) -> tuple[bytes, int | None]:
    """The body that answers an ``/infer`` request, and the length of its JSON part when binary tensors follow it."""
    tensors = output_tensors(answer)
    outputs, tail = [], []
    for name, binary in request.outputs:
        tensor = tensors[name]
        output: dict[str, Any] = {"name": name, "datatype": OUTPUTS[name][0], "shape": list(tensor.shape)}
        if binary:
            tail.append(_binary_tensor(tensor))
            output["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            output["data"] = _json_tensor(tensor)
        outputs.append(output)
    document = {
        "model_name": model_name,
        "model_version": answer.version,
        "id": request.id,
        "parameters": response_parameters(answer),
        "outputs": outputs,
    }
    head = orjson.dumps(document)
    return (b"".join([head, *tail]), len(head)) if tail else (head, None)


def _json_tensor(tensor: Array) -> list[Any]:
    values = tensor.ravel().tolist()
    # Four digits after the point are finer than any detector; the other ten of a float32 in JSON are noise.
    return [round(value, 4) if isinstance(value, float) and math.isfinite(value) else value for value in values]


def _binary_tensor(tensor: Array) -> bytes:
    if tensor.dtype != object:
        return tensor.astype(tensor.dtype.newbyteorder("<")).tobytes()
    texts = [text.encode() for text in tensor.tolist()]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)

"""The two wire protocols, the way out: answers → response documents and bytes. Pure, like ``protocol``.

In v2, the boxes of several photos follow one another; ``counts`` says how many are each photo's.
"""

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


def output_tensor(name: str, answers: Sequence[Answer]) -> Array:
    """One v2 output of the answers to a request; texts are an object array of str."""
    match name:
        case "boxes":
            return np.concatenate([answer.boxes.reshape(-1, 4) for answer in answers]).astype(np.float32)
        case "scores":
            return np.concatenate([answer.scores for answer in answers]).astype(np.float32)
        case "class_ids":
            return np.concatenate([answer.class_ids for answer in answers]).astype(np.int32)
        case "labels":
            return np.array([label for answer in answers for label in answer.labels], dtype=object)
        case "counts":
            return np.array([len(answer.labels) for answer in answers], np.int32)
        case "sizes":
            return np.array([(answer.width, answer.height) for answer in answers], np.int32)
        case "prediction_ids":
            return np.array([answer.prediction_id for answer in answers], dtype=object)
    raise KeyError(name)


def response_parameters(answers: Sequence[Answer]) -> dict[str, str | int]:
    """What a v2 response says beside its tensors: the version, and of one photo its prediction id and size."""
    version: dict[str, str | int] = {"model_version": answers[0].version}
    if len(answers) > 1:
        return version
    [answer] = answers
    return {"prediction_id": answer.prediction_id, **version, "width": answer.width, "height": answer.height}


def v2_response(answers: Sequence[Answer], request: V2Request, model_name: str) -> tuple[bytes, int | None]:
    """The body that answers an ``/infer`` request, and the length of its JSON part when binary tensors follow it."""
    outputs, tail = [], []
    for name, binary in request.outputs:
        tensor = output_tensor(name, answers)
        output: dict[str, Any] = {"name": name, "datatype": OUTPUTS[name][0], "shape": list(tensor.shape)}
        if binary:
            tail.append(binary_tensor(tensor))
            output["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            output["data"] = _json_tensor(tensor)
        outputs.append(output)
    document = {
        "model_name": model_name,
        "model_version": answers[0].version,
        "id": request.id,
        "parameters": response_parameters(answers),
        "outputs": outputs,
    }
    head = orjson.dumps(document)
    return (b"".join([head, *tail]), len(head)) if tail else (head, None)


def _json_tensor(tensor: Array) -> list[Any]:
    values = tensor.ravel().tolist()
    # Four digits after the point are finer than any detector; the other ten of a float32 in JSON are noise.
    return [round(value, 4) if isinstance(value, float) and math.isfinite(value) else value for value in values]


def binary_tensor(tensor: Array) -> bytes:
    """A tensor as the protocol's bytes: little-endian numbers, or texts that each follow their length."""
    if tensor.dtype != object:
        return tensor.astype(tensor.dtype.newbyteorder("<")).tobytes()
    texts = [text.encode() for text in tensor.tolist()]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)

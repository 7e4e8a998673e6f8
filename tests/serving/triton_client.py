"""Calls an endpoint with NVIDIA's Triton clients and prints what they understood, as JSON.

A program of its own: its protobuf messages have the names of KServe's, and one process takes only one set.
Usage: python -m tests.serving.triton_client http|grpc ADDRESS PHOTO
"""

import importlib
import json
import sys
from pathlib import Path

import numpy as np

OUTPUTS = ("boxes", "scores", "class_ids", "labels")
BATCH = ("boxes", "counts", "sizes", "prediction_ids")


def main(transport: str, address: str, photo: bytes) -> dict:
    package = importlib.import_module(f"tritonclient.{transport}")
    client = package.InferenceServerClient(address)
    binary = [True, False] if transport == "http" else [True]

    def infer(values: np.ndarray, kind: str, names=OUTPUTS, *, binary_in=True, binary_out=True, **options):
        image = package.InferInput("image", list(values.shape), kind)
        image.set_data_from_numpy(values, **({"binary_data": binary_in} if transport == "http" else {}))
        extra = {"binary_data": binary_out} if transport == "http" else {}
        outputs = [package.InferRequestedOutput(name, **extra) for name in names or ()]
        result = client.infer("hakka", [image], outputs=outputs or None, **options)
        return {name: show(result.as_numpy(name)) for name in names or OUTPUTS}

    def show(values: np.ndarray):
        return [value.decode() if isinstance(value, bytes) else value for value in values.tolist()]

    files = np.array([photo], dtype=object)
    pixels = np.full((128, 128, 3), 90, np.uint8)
    metadata = client.get_model_metadata("hakka")
    answers = {
        "ready": client.is_server_live() and client.is_server_ready() and client.is_model_ready("hakka"),
        "versions": metadata["versions"] if transport == "http" else list(metadata.versions),
        "file": [infer(files, "BYTES", binary_out=out) for out in binary],
        "all outputs": infer(files, "BYTES", None),
        "pixels": [infer(pixels, "UINT8", binary_in=way, binary_out=way) for way in binary],
        "sure": infer(files, "BYTES", parameters={"confidence": 0.7, "classes": "apple,banana", "max_detections": 5}),
        "several": infer(np.array([photo] * 3, dtype=object), "BYTES", BATCH),
        "of this version": infer(files, "BYTES", model_version=model_version(metadata, transport)),
    }
    errors = {
        "bad photo": lambda: infer(np.array([b"no photo"], dtype=object), "BYTES"),
        "other version": lambda: infer(files, "BYTES", model_version="zz"),
        "bad parameter": lambda: infer(files, "BYTES", parameters={"confidence": 7}),
    }
    return answers | {"errors": {name: refusal(call) for name, call in errors.items()}}


def model_version(metadata, transport: str) -> str:
    return metadata["versions"][0] if transport == "http" else metadata.versions[0]


def refusal(call) -> list[str]:
    from tritonclient.utils import InferenceServerException

    try:
        call()
    except InferenceServerException as error:
        return [str(error.status()), error.message()]
    return []


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]).read_bytes())))

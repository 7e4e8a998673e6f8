"""LitServe as its documentation shows it: ``python -m benchmarks.peers.litserve_server EXPORTED PORT``.

One worker, a photo as base64 in JSON, the four methods of a LitAPI.
"""

import base64
import io
import json
import sys
from pathlib import Path
from typing import Any

import litserve
from PIL import Image

from benchmarks.peers.settings import SETTINGS, open_model


class Detect(litserve.LitAPI):
    """ultralytics' predict behind LitServe."""

    def __init__(self, exported: Path) -> None:
        super().__init__()
        self.exported = exported

    def setup(self, device: str) -> None:
        """Load."""
        self.model = open_model(self.exported)

    def decode_request(self, request: dict[str, str]) -> Image.Image:
        """The photo."""
        return Image.open(io.BytesIO(base64.b64decode(request["image"])))

    def predict(self, image: Image.Image) -> Any:
        """What is on it."""
        return self.model.predict(image, **SETTINGS)[0]

    def encode_response(self, result: Any) -> list[dict[str, Any]]:
        """The same as JSON."""
        return json.loads(result.to_json())


if __name__ == "__main__":
    server = litserve.LitServer(Detect(Path(sys.argv[1])), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="warning")

"""BentoML as its YOLO example shows it: ``python -m bentoml serve benchmarks.peers.bentoml_service:Detect``.

One service that takes an uploaded file. The model's folder is in the environment, as ``HAKKA_PEER_MODEL``.
"""

import json
import os
from pathlib import Path
from typing import Annotated

import bentoml
from bentoml.validators import ContentType

from benchmarks.peers.settings import SETTINGS, open_model


@bentoml.service
class Detect:
    """ultralytics' predict behind BentoML."""

    def __init__(self) -> None:
        self.model = open_model(Path(os.environ["HAKKA_PEER_MODEL"]))

    @bentoml.api
    def predict(self, image: Annotated[Path, ContentType("image/*")]) -> list[dict]:
        """What is on the photo."""
        return json.loads(self.model.predict(image, **SETTINGS)[0].to_json())

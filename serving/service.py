"""What REST and gRPC have in common: the model by name and version, its metadata, and the way through KServe."""

from collections.abc import Sequence
from typing import Any

from hakka.errors import NotFound
from serving.framework import DataPlane, ModelNotReady
from serving.model import HakkaModel
from serving.protocol import Answer, Query

EXTENSIONS = ("binary_tensor_data",)


class Service:
    """The one model of this server, as callers name it."""

    def __init__(self, plane: DataPlane, model: HakkaModel) -> None:
        self.model = model
        self._plane = plane

    def server(self) -> dict[str, Any]:
        """The server's metadata: its name and version, and the extensions of the protocol that it has."""
        return {**self._plane.metadata(), "extensions": list(EXTENSIONS)}

    async def check(self, name: str, version: str = "") -> None:
        """Nothing, if the model is there and ready, in this version if one is named.

        Raises:
            ModelNotFound: there is no model of that name.
            NotFound: another version is served.
            ModelNotReady: it is not ready.
        """
        ready = await self._plane.model_ready(name)
        served = self.model.versions.current.version
        if version not in ("", served):
            raise _other_version(name, version, served)
        if not ready:
            raise ModelNotReady(name)

    async def infer(
        self, name: str, version: str, queries: Sequence[Query], headers: dict[str, str] | None = None
    ) -> list[Answer]:
        """One answer a query, in order. Raises as ``check`` and ``HakkaModel.predict`` do."""
        answers: list[Answer]
        answers, _ = await self._plane.infer(name, list(queries), headers)
        served = answers[0].version
        if version not in ("", served):  # the server has switched meanwhile
            raise _other_version(name, version, served)
        return answers

    async def metadata(self, name: str, version: str = "") -> dict[str, Any]:
        """What is served: inputs and outputs, versions, and as parameters everything else there is to know.

        Raises:
            ModelNotFound, NotFound: as ``check`` does.
        """
        tensors = await self._plane.model_metadata(name)
        about = self.model.about()
        if version not in ("", about["version"]):
            raise _other_version(name, version, about["version"])
        platform = about["engine"].partition(" ")[0]
        return {**tensors, "versions": [about["version"]], "platform": platform, "parameters": about}


def _other_version(name: str, version: str, served: str) -> NotFound:
    return NotFound(f"version {version[:80]} of {name} is not served here; {served} is")

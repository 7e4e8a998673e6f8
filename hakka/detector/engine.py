"""The one door to OpenVINO: it comes in without the part that reports every import and conversion to its maker."""

import importlib
import sys
from functools import cache
from typing import Any


def load_openvino() -> Any:
    """The openvino package, with its telemetry shut off.

    OpenVINO sends an event at import unless a file in the user's HOME says no; a container's HOME may not be writable.
    It falls back to a stub where the telemetry package cannot be imported, so that is what we make it find.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None makes an import of it fail
    return importlib.import_module("openvino")


@cache
def openvino_core() -> Any:
    """The process's one OpenVINO core, which lives as long as the process.

    A core that is dropped unloads its plug-ins, and with them the stack on which signals are handled: the next SIGTERM
    then crashes the process. A server that switches versions would drop one a switch.
    """
    return load_openvino().Core()

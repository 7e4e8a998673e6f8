"""KServe's names, without what KServe would import for nothing; every other module here takes them from this one."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

# Modules that KServe imports and an endpoint never calls, with the one name that it takes from each: a client of the
# Kubernetes API, behind which stand kubernetes and cryptography, and pandas. They are half of its start and 110 MB.
UNUSED = {"kserve.api.kserve_client": "KServeClient", "pandas": "DataFrame"}


@contextmanager
def _kserve_alone() -> Iterator[None]:
    """Let KServe find empty classes for what is unused, and no command line: its model server parses ``sys.argv``."""
    argv, sys.argv = sys.argv, sys.argv[:1]
    stand_ins = {module: ModuleType(module) for module in UNUSED if module not in sys.modules}
    for module, stand_in in stand_ins.items():
        setattr(stand_in, UNUSED[module], type(UNUSED[module], (), {}))
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        sys.argv = argv
        for module in stand_ins:
            del sys.modules[module]  # whoever imports it later gets the real one


with _kserve_alone():
    from kserve import Model, ModelServer
    from kserve.errors import InvalidInput as KServeInvalidInput
    from kserve.errors import ModelNotFound, ModelNotReady
    from kserve.logging import configure_logging
    from kserve.model_server import app
    from kserve.protocol.dataplane import DataPlane
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
    from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import add_GRPCInferenceServiceServicer_to_server as add_servicer
    from kserve.protocol.grpc.servicer import InferenceServicer
    from kserve.protocol.model_repository_extension import ModelRepositoryExtension
    from kserve.protocol.rest.server import RESTServer

__all__ = [
    "DataPlane",
    "InferenceServicer",
    "KServeInvalidInput",
    "Model",
    "ModelNotFound",
    "ModelNotReady",
    "ModelRepositoryExtension",
    "ModelServer",
    "RESTServer",
    "add_servicer",
    "app",
    "configure_logging",
    "pb",
]

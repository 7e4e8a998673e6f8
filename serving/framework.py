"""KServe's names, imported while its own argument parser is kept away from our command line.

``kserve.model_server`` parses ``sys.argv`` when it is imported; every other module here takes KServe from this one.
"""

import sys

_argv, sys.argv = sys.argv, sys.argv[:1]
try:
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
finally:
    sys.argv = _argv

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

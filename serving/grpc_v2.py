"""The v2 protocol over gRPC: KServe's request and response objects to and from ours, and the server."""

import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from grpc import aio

from hakka.errors import HakkaError, InvalidInput, Unavailable
from serving.framework import (
    DataPlane,
    ExceptionToStatusInterceptor,
    InferenceServicer,
    InferOutput,
    InferRequest,
    InferResponse,
    KServeInvalidInput,
    ModelRepositoryExtension,
    add_servicer,
    to_http_parameters,
)
from serving.protocol import OUTPUTS, Answer, V2Request, read_v2
from serving.responses import output_tensors, response_parameters

logger = logging.getLogger("hakka.serving")


@contextmanager
def refusals() -> Iterator[None]:
    """Turn our errors into the one that KServe's gRPC server answers with INVALID_ARGUMENT."""
    try:
        yield
    except HakkaError as error:
        raise KServeInvalidInput(str(error)) from None


def read_request(request: InferRequest) -> V2Request:
    """Our form of a gRPC request, whether its tensor came as raw or as typed contents."""
    return read_v2(
        {
            "id": request.id,
            "parameters": _parameters(request),
            "inputs": [
                {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape, "data": _elements(tensor)}
                for tensor in request.inputs
            ],
            "outputs": [{"name": output.name} for output in request.request_outputs or []],
        }
    )


def _parameters(request: InferRequest) -> dict[str, Any]:
    """The parameters, with numbers read from text: the protocol's message has no field for a fraction."""
    values = to_http_parameters(request.parameters or {})
    return {key: _number(value) if key in ("confidence", "iou") else value for key, value in values.items()}


def _number(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _elements(tensor: Any) -> list[Any]:
    if tensor.datatype != "BYTES":
        return []
    try:
        return list(tensor.as_numpy().ravel())
    except (ValueError, struct.error):
        raise InvalidInput(f"input {tensor.name!r}: its bytes do not make up a BYTES tensor of its shape") from None


def response(answer: Answer, request: V2Request, model_name: str) -> InferResponse:
    """The gRPC response: raw tensors (KServe sends arrays that way), in the order asked for."""
    tensors = output_tensors(answer)
    outputs = [
        InferOutput(name, list(tensors[name].shape), OUTPUTS[name][0], tensors[name]) for name, _ in request.outputs
    ]
    return InferResponse(
        response_id=request.id,
        model_name=model_name,
        model_version=answer.version,
        infer_outputs=outputs,
        parameters=response_parameters(answer),
    )


async def start_grpc(plane: DataPlane, repository: ModelRepositoryExtension, address: str, max_body: int) -> aio.Server:
    """A started gRPC server on ``host:port``; KServe's own would listen on every interface.

    Raises:
        Unavailable: the address cannot be used.
    """
    sizes = [("grpc.max_receive_message_length", max_body), ("grpc.max_send_message_length", max_body)]
    server = aio.server(interceptors=[ExceptionToStatusInterceptor()], options=[*sizes, ("grpc.so_reuseport", 0)])
    add_servicer(InferenceServicer(plane, repository), server)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        raise Unavailable(f"cannot listen on {address} for gRPC") from None
    await server.start()
    logger.info("gRPC at %s:%d", address.rpartition(":")[0], port)
    return server

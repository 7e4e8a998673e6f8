"""The v2 protocol over gRPC: KServe's messages to and from ours, and the server."""

import asyncio
import logging
import math
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence, Sized
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from grpc import HandlerCallDetails, RpcMethodHandler, StatusCode, aio, stream_unary_rpc_method_handler

from hakka.errors import InvalidInput, Unavailable
from serving import metrics
from serving.admission import Busy
from serving.callers import BURST, Callers
from serving.framework import InferenceServicer, add_servicer, pb
from serving.limits import Room
from serving.model import counted
from serving.peers import peer_name
from serving.protocol import OUTPUTS, Answer, V2Request, read_v2
from serving.reads import Reads
from serving.refusals import FAILURE, INTERNAL, refuse
from serving.responses import binary_tensor, output_tensor, response_parameters
from serving.service import Service
from serving.texts import TooLarge

logger = logging.getLogger("hakka.serving")

# Bytes of a message that may come before it is asked for: of a call that is refused without it, so many are in vain.
AHEAD = 256 * 1024
# Seconds between two pings to a client; one that does not answer has gone, and its connection is closed.
PING_SECONDS = 60
PONG_SECONDS = 20
IDENTITY = 1  # gRPC's bit of messages that are not compressed
# Field of an InferParameter that newer forms of the protocol (Triton's) have, and KServe's has not.
DOUBLE_FIELD = 4
# Inputs, outputs, parameters or sides of a shape in a request: every one is an object, and millions fit into a message.
MOST_PARTS = 1000
# Numbers or texts of a tensor that is not raw, for the same reason; a photo of 800 x 800 pixels.
MOST_ELEMENTS = 2_000_000


def read_request(request: Any) -> V2Request:
    """Our form of a ModelInferRequest, whether its tensor came as raw or as typed contents.

    Raises:
        TooLarge: it has more parts than can be read in a moment.
        InvalidInput: as ``read_v2`` does.
    """
    for name in ("inputs", "outputs", "parameters"):
        _check_count(name, getattr(request, name), MOST_PARTS)
    raw = request.raw_input_contents
    if len(raw) not in (0, len(request.inputs)):
        raise InvalidInput(f"raw_input_contents must hold one element an input, got {len(raw)}")
    document = {
        "id": request.id,
        "parameters": _parameters(request.parameters),
        "inputs": [_tensor(tensor, raw[index] if raw else None) for index, tensor in enumerate(request.inputs)],
        "outputs": [{"name": output.name} for output in request.outputs],
    }
    return read_v2(document, memoryview(raw[0]) if len(raw) == 1 else memoryview(b""))


def _check_count(name: str, parts: Sized, most: int) -> None:
    if len(parts) > most:
        raise TooLarge(f"{name} must be at most {most}, got {len(parts)}")


def _tensor(tensor: Any, raw: bytes | None) -> dict[str, Any]:
    _check_count("the sides of a shape", tensor.shape, MOST_PARTS)
    fields = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
    if raw is not None:
        if tensor.HasField("contents"):
            raise InvalidInput(f"input {tensor.name[:80]!r}: contents must not be there beside raw_input_contents")
        return {**fields, "parameters": {"binary_data_size": len(raw)}}
    elements = tensor.contents.uint_contents if tensor.datatype == "UINT8" else tensor.contents.bytes_contents
    _check_count("elements that are not in raw_input_contents", elements, MOST_ELEMENTS)
    return {**fields, "data": list(elements)}


def _parameters(given: Any) -> dict[str, Any]:
    """The parameters as JSON would have them; a number may come as text, for KServe's message has no fractions."""
    values = {key: _value(parameter) for key, parameter in given.items()}
    for key in ("confidence", "iou", "max_detections", "timeout"):
        if isinstance(values.get(key), str):
            values[key] = _number(values[key])
    return values


def _value(parameter: Any) -> Any:
    kind = parameter.WhichOneof("parameter_choice")
    if kind is not None:
        return getattr(parameter, kind)
    for field in UnknownFieldSet(parameter):
        if field.field_number == DOUBLE_FIELD and isinstance(field.data, int):
            number: float = struct.unpack("<d", struct.pack("<Q", field.data))[0]
            return int(number) if number.is_integer() else number
    return None


def _number(text: str) -> Any:
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() else number if math.isfinite(number) else text


def make_response(answers: Sequence[Answer], request: V2Request, model_name: str) -> Any:
    """The ModelInferResponse: raw tensors, in the order asked for."""
    tensors = {name: output_tensor(name, answers) for name, _ in request.outputs}
    return pb.ModelInferResponse(
        model_name=model_name,
        model_version=answers[0].version,
        id=request.id,
        parameters={
            key: pb.InferParameter(**{"string_param" if isinstance(value, str) else "int64_param": value})
            for key, value in response_parameters(answers).items()
        },
        outputs=[
            {"name": name, "datatype": OUTPUTS[name][0], "shape": tensor.shape} for name, tensor in tensors.items()
        ],
        raw_output_contents=[binary_tensor(tensor) for tensor in tensors.values()],
    )


class Servicer(InferenceServicer):
    """KServe's service with our reading of tensors and our refusals."""

    def __init__(self, service: Service) -> None:
        super().__init__(None, None)
        self._service = service

    async def ServerMetadata(self, request: Any, context: aio.ServicerContext) -> Any:  # noqa: N802 - the protocol's name
        """Name, version and extensions of the server."""
        return pb.ServerMetadataResponse(**self._service.server())

    async def ServerLive(self, request: Any, context: aio.ServicerContext) -> Any:  # noqa: N802
        """Always."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: aio.ServicerContext) -> Any:  # noqa: N802
        """True once the model is loaded, False while the server ends."""
        return pb.ServerReadyResponse(ready=self._service.model.ready)

    async def ModelReady(self, request: Any, context: aio.ServicerContext) -> Any:  # noqa: N802
        """True; another name or version is NOT_FOUND."""
        await self._service.check(request.name, request.version)
        return pb.ModelReadyResponse(ready=True)

    async def ModelMetadata(self, request: Any, context: aio.ServicerContext) -> Any:  # noqa: N802
        """Versions, inputs and outputs."""
        about = await self._service.metadata(request.name, request.version)
        del about["parameters"]  # the message has no field for them
        return pb.ModelMetadataResponse(**about)

    async def ModelInfer(self, request: Any, context: aio.ServicerContext) -> Any:  # noqa: N802
        """Detect food."""
        name, version = request.model_name, request.model_version
        await self._service.check(name, version)
        asked = read_request(request)
        del request  # it has a copy of the photo
        answers = await self._service.infer(name, version, asked.before(context.time_remaining()))
        with metrics.timed("encode"):
            return make_response(answers, asked, name)

    async def RepositoryModelLoad(self, request: Any, context: aio.ServicerContext) -> Any:  # noqa: N802
        """Refuse: a caller must not decide what is served."""
        raise InvalidInput(f"{request.model_name[:80]}: the channel decides which version is served, no caller")

    RepositoryModelUnload = RepositoryModelLoad


# How a call is answered, from its handler, its context and its peer.
Way = Callable[[RpcMethodHandler, aio.ServicerContext, str], Awaitable[Any]]


class Reader(aio.ServerInterceptor):
    """Reads each call's message when there is room for it, and answers what is raised.

    gRPC would read it before anything of ours runs, and wait for it forever. As a stream of one message it is read when
    we ask for it; until then no more of it than ``AHEAD`` bytes come in.
    """

    def __init__(self, room: Room, reads: Reads, callers: Callers) -> None:
        self._room = room
        self._reads = reads
        self._callers = callers

    async def intercept_service(
        self,
        continuation: Callable[[HandlerCallDetails], Awaitable[RpcMethodHandler | None]],
        handler_call_details: HandlerCallDetails,
    ) -> RpcMethodHandler | None:
        """The handler of a call."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        way = self._infer if handler_call_details.method.endswith("/ModelInfer") else self._tell
        return stream_unary_rpc_method_handler(partial(self._answer, way, handler), None, handler.response_serializer)

    async def _infer(self, handler: RpcMethodHandler, context: aio.ServicerContext, peer: str) -> Any:
        size = 0
        try:
            with counted("grpc"):
                self._room.check(0)  # a refusal should cost little
                content = await self._read(context, peer)
                size = len(content)
                with self._callers.answering(peer):
                    self._room.take(size, size)
                    answer = handler.unary_unary(_parse(handler, content), context)
                    del content
                    return await answer
        finally:
            self._room.give_back(size)

    async def _tell(self, handler: RpcMethodHandler, context: aio.ServicerContext, peer: str) -> Any:
        content = await self._read(context, peer)
        with self._callers.answering(peer):
            return await handler.unary_unary(_parse(handler, content), context)

    async def _read(self, context: aio.ServicerContext, peer: str) -> bytes:
        if self._reads.full:
            self._callers.look()  # now, as so many may come at once that the next look would be late
        return await self._reads.read(peer, partial(_receive, context))

    async def _answer(self, way: Way, handler: RpcMethodHandler, _: object, context: aio.ServicerContext) -> Any:
        """What the way gives; an error of it is answered with its code and its sentence."""
        try:
            return await way(handler, context, peer_name(context.peer()))
        except Exception as error:
            refusal, said = refuse(error), str(error)
            if refusal is FAILURE:
                logger.exception("A gRPC call failed")
                said = INTERNAL
            if isinstance(error, Busy):
                context.set_trailing_metadata((("grpc-retry-pushback-ms", str(math.ceil(error.retry_after * 1000))),))
        # Not while the error is handled: gRPC keeps what abort raises; that would keep the error, and that the photo.
        await context.abort(StatusCode[refusal.code], said)
        return None


async def _receive(context: aio.ServicerContext) -> bytes:
    content = await context.read()
    if content is aio.EOF:
        raise InvalidInput("a call must have one message, got none")
    return content


def _parse(handler: RpcMethodHandler, content: bytes) -> Any:
    try:
        return handler.request_deserializer(content)
    except DecodeError:
        raise InvalidInput("the message is not one of the protocol's") from None


@asynccontextmanager
async def grpc_server(
    service: Service, address: str, room: Room, seconds: float, most: int
) -> AsyncIterator[aio.Server]:
    """A started gRPC server on ``host:port``, ended with the block; KServe's own would listen on every interface.

    A message must be sent within so many ``seconds``. ``most`` connections are kept, see ``Callers``. One that
    does not speak HTTP/2 within ``seconds`` is closed, and one whose client does not answer a ping.

    Raises:
        Unavailable: the address cannot be used.
    """
    options = [
        ("grpc.max_receive_message_length", room.limit),
        ("grpc.max_send_message_length", room.limit),
        ("grpc.http2.bdp_probe", 0),  # it would let 4 MiB of every message come ahead
        ("grpc.http2.lookahead_bytes", AHEAD),
        ("grpc.so_reuseport", 0),
        ("grpc.max_allowed_incoming_connections", BURST * most),
        ("grpc.server_handshake_timeout_ms", int(1000 * seconds)),
        ("grpc.keepalive_time_ms", 1000 * PING_SECONDS),
        ("grpc.keepalive_timeout_ms", 1000 * PONG_SECONDS),
        ("grpc.keepalive_permit_without_calls", 1),
        # What comes in could not be told from what it unpacks to. REST takes no compressed bodies either.
        ("grpc.compression_enabled_algorithms_bitset", IDENTITY),
    ]
    reads = Reads(room, seconds)
    callers = Callers(reads, most)
    server = aio.server(interceptors=(Reader(room, reads, callers),), options=options)
    add_servicer(Servicer(service), server)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        raise Unavailable(f"cannot listen on {address} for gRPC") from None
    await server.start()
    logger.info("gRPC at %s:%d", address.rpartition(":")[0], port)
    watch = asyncio.create_task(callers.watch(port))
    try:
        yield server
    finally:
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch
        await server.stop(0)

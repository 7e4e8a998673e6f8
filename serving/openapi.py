"""The OpenAPI document of the REST routes, served at ``/openapi.json``."""

from typing import Any

from serving.model import HakkaModel
from serving.protocol import MAX_DETECTIONS, MAX_PHOTOS, OUTPUTS, PARAMETERS

Json = dict[str, Any]

ERRORS = {
    "400": "The request is wrong; the sentence begins with the place",
    "404": "No such model or version",
    "408": "The request took too long to be sent",
    "413": "The body is too large",
    "415": "The body is compressed, or neither JSON nor binary",
    "429": "The queue is full; Retry-After says when to come again",
    "503": "The model is not ready",
    "504": "The request's deadline passed",
}
GET_ERRORS = ("404", "503")
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mM4YaMBAAL8AS3Bfun7AAAAAElFTkSuQmCC"
_MISPLACED: Json = {name: {"not": {}, "description": "Stands in parameters"} for name in PARAMETERS}


def describe(model: HakkaModel, urls: bool) -> Json:
    """The document for the version that is served; ``urls`` is whether photos may be named by their address."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Hakka: food detection",
            "version": "2",
            "description": "KServe's v1 protocol and the Open Inference Protocol (v2), for photos of food.",
        },
        "paths": _paths(),
        "components": {
            "schemas": _schemas(list(model.versions.current.detector.names), urls),
            "parameters": _parameters(model),
        },
    }


def _paths() -> Json:
    version = [_ref("parameters", "Model"), _ref("parameters", "Version")]
    model = version[:1]
    get = {
        "/": ("Is the process alive?", "Alive", []),
        "/v1/models": ("Names of the models", "Models", []),
        "/v1/models/{model_name}": ("Is the model ready? (v1)", "ModelReady", model),
        "/v2": ("The server: name, version, extensions of the protocol", "Server", []),
        "/v2/health/live": ("Is the process alive?", "Live", []),
        "/v2/health/ready": ("Is the server ready for requests?", "Ready", []),
        "/v2/models": ("Names of the models", "Models", []),
        "/v2/models/{model_name}": ("What is served: versions, tensors, classes, thresholds", "Metadata", model),
        "/v2/models/{model_name}/ready": ("Is the model ready?", "ModelReady", model),
        "/v2/models/{model_name}/versions/{version}": ("What is served, if it is this version", "Metadata", version),
        "/v2/models/{model_name}/versions/{version}/ready": ("Is this version ready?", "ModelReady", version),
    }
    paths = {path: {"get": _get(*about)} for path, about in get.items()}
    paths["/metrics"] = {"get": _metrics()}
    paths["/v1/models/{model_name}:predict"] = {"post": _predict(model)}
    paths["/v2/models/{model_name}/infer"] = {"post": _infer(model)}
    paths["/v2/models/{model_name}/versions/{version}/infer"] = {"post": _infer(version)}
    return paths


def _get(summary: str, schema: str, parameters: list[Json]) -> Json:
    errors = GET_ERRORS if parameters else GET_ERRORS[1:]
    return {
        "summary": summary,
        "parameters": parameters,
        "responses": {"200": _answer("The answer", schema), **_errors(errors)},
    }


def _metrics() -> Json:
    text = {"schema": {"type": "string"}}
    content = {"text/plain": text, "application/openmetrics-text": text}
    return {"summary": "What Prometheus reads", "responses": {"200": {"description": "Metrics", "content": content}}}


def _predict(parameters: list[Json]) -> Json:
    return {
        "summary": "Detect food on photos (v1)",
        "parameters": [*parameters, _ref("parameters", "Timeout")],
        "requestBody": {"required": True, "content": {"application/json": _media("PredictRequest")}},
        "responses": {"200": _answer("One prediction a photo, in order", "PredictResponse"), **_errors(ERRORS)},
    }


def _infer(parameters: list[Json]) -> Json:
    binary = {"schema": {"type": "string", "format": "binary"}}
    answered = _answer("One tensor an output", "InferResponse")
    answered["content"]["application/octet-stream"] = binary
    answered["headers"] = {
        "Inference-Header-Content-Length": {
            "description": "Length of the JSON before the tensors, if any output is binary",
            "schema": {"type": "integer"},
        }
    }
    return {
        "summary": "Detect food on photos (Open Inference Protocol v2)",
        "description": (
            "The body is JSON, or JSON followed by the bytes of the image tensor (extension binary_tensor_data); then "
            "the header Inference-Header-Content-Length is the length of the JSON in bytes."
        ),
        "parameters": [*parameters, _ref("parameters", "Timeout"), _ref("parameters", "JsonLength")],
        "requestBody": {
            "required": True,
            "content": {"application/json": _media("InferRequest"), "application/octet-stream": binary},
        },
        "responses": {"200": answered, **_errors(ERRORS)},
    }


def _parameters(model: HakkaModel) -> Json:
    served = model.versions.current.version
    return {
        "Model": _parameter("path", "model_name", "The model's name", {"type": "string", "example": model.name}, True),
        "Version": _parameter("path", "version", "The model's version", {"type": "string", "example": served}, True),
        "Timeout": _parameter(
            "header", "X-Request-Timeout-Ms", "Answer within so many milliseconds, or 504", _integer(0, 9_999_999_999)
        ),
        "JsonLength": _parameter(
            "header",
            "Inference-Header-Content-Length",
            "Length of the JSON before the tensor, in bytes",
            {"type": "integer", "minimum": 0},
        ),
    }


def _parameter(where: str, name: str, text: str, schema: Json, required: bool = False) -> Json:
    return {"in": where, "name": name, "required": required, "description": text, "schema": schema}


def _schemas(names: list[str], urls: bool) -> Json:
    return {
        "Error": _object({"error": _string("One sentence")}, {"error": "instances is missing"}),
        "Alive": _object({"status": _string()}, {"status": "alive"}),
        "Live": _object({"live": {"type": "boolean"}}, {"live": True}),
        "Ready": _object({"ready": {"type": "boolean"}}, {"ready": True}),
        "Models": _object({"models": _list(_string())}, {"models": ["hakka"]}),
        "ModelReady": _object({"name": _string(), "ready": {"type": "boolean"}}, {"name": "hakka", "ready": True}),
        "Server": _object({"name": _string(), "version": _string(), "extensions": _list(_string())}),
        "Metadata": _metadata_schema(),
        **_v1_schemas(names, urls),
        **_v2_schemas(),
    }


def _v1_schemas(names: list[str], urls: bool) -> Json:
    b64 = _object({"b64": _string("A JPEG, PNG or WebP file in base64") | {"format": "byte"}})
    url = _object({"url": _string("An http or https address of such a file, under one that the server allows")})
    image = {"oneOf": [b64, url]} if urls else b64
    rules = _rules(_list({"enum": names}, 1))
    instance = _object({"image": image, **rules}, required=("image",))
    parameters = _object(rules, required=()) | {
        "additionalProperties": False,
        "description": "For every photo that does not say otherwise",
    }
    detection = {
        "box": _list({"type": "number"}) | {"description": "Left, top, right, bottom in pixels of the upright photo"},
        "class_id": {"type": "integer"},
        "name": _string("The class"),
        "confidence": {"type": "number"},
    }
    size = _object({"width": {"type": "integer"}, "height": {"type": "integer"}})
    prediction = {
        "prediction_id": _string(),
        "model_version": _string(),
        "image": size,
        "detections": _list(_object(detection)),
    }
    found = {"box": [12.5, 30.0, 96.2, 120.4], "class_id": 3, "name": "tomato", "confidence": 0.91}
    answer = {"image": {"width": 640, "height": 480}, "detections": [found]}
    return {
        "PredictRequest": _object(
            {
                **_MISPLACED,
                "instances": _list(instance | {"additionalProperties": False}, 1, MAX_PHOTOS),
                "parameters": parameters,
            },
            {"instances": [{"image": {"b64": PIXEL}, "confidence": 0.5}]},
            required=("instances",),
        ),
        "PredictResponse": _object(
            {"predictions": _list(_object(prediction))},
            {"predictions": [{"prediction_id": "5f0c", "model_version": "3fa9c1d20b77", **answer}]},
        ),
    }


def _v2_schemas() -> Json:
    tensor = {
        "name": {"const": "image"},
        "datatype": {"enum": ["BYTES", "UINT8"], "description": "BYTES: files. UINT8: RGB pixels."},
        "shape": _list(_integer(1), 1, 4) | {"description": "[n] for files; [height, width, 3], or [n, …], of pixels"},
        "parameters": _object({"binary_data_size": _integer(0)}, required=()),
        "data": {"type": "array", "description": "Files in base64, or whole numbers from 0 to 255; not with binary"},
    }
    output = {
        "name": {"enum": list(OUTPUTS)},
        "parameters": _object({"binary_data": {"type": "boolean"}}, required=()),
    }
    timeout = _integer(0) | {"description": "Microseconds for the answer, 0 for no limit"}
    classes = _string("Names with commas between")
    rules = {**_rules(classes), "timeout": timeout, "binary_data_output": {"type": "boolean"}}
    request = {
        **_MISPLACED,
        "id": _string("Comes back with the answer"),
        "parameters": _object(rules, required=()) | {"additionalProperties": False},
        "inputs": _list(_object(tensor, required=("name", "datatype", "shape")), 1, 1),
        "outputs": _list(_object(output, required=("name",))) | {"description": "Without any: all"},
    }
    answered = {
        "name": {"enum": list(OUTPUTS)},
        "datatype": _string(),
        "shape": _list(_integer(0)),
        "parameters": _object({"binary_data_size": _integer(0)}, required=()),
        "data": {"type": "array"},
    }
    response = {
        "model_name": _string(),
        "model_version": _string(),
        "id": _string(),
        "parameters": {"type": "object", "description": "model_version; of one photo also prediction_id and its size"},
        "outputs": _list(_object(answered, required=("name", "datatype", "shape"))),
    }
    image = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [PIXEL]}
    return {
        "InferRequest": _object(request, {"inputs": [image], "parameters": {"confidence": 0.5}}, required=("inputs",)),
        "InferResponse": _object(response),
    }


def _metadata_schema() -> Json:
    tensor = _object({"name": _string(), "datatype": _string(), "shape": _list({"type": "integer"})})
    return _object(
        {
            "name": _string(),
            "versions": _list(_string()),
            "platform": _string(),
            "inputs": _list(tensor),
            "outputs": _list(tensor),
            "parameters": {"type": "object", "description": "Classes, thresholds, revisions of data and code, engine"},
        }
    )


def _rules(classes: Json) -> Json:
    """The detection parameters; null is as good as nothing."""
    share = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
    count = {"type": ["integer", "null"], "minimum": 1, "maximum": MAX_DETECTIONS}
    return {
        "confidence": {**share, "description": "Least confidence of a box"},
        "iou": {**share, "description": "Boxes of one class may overlap so much"},
        "max_detections": {**count, "description": "Most boxes a photo"},
        "classes": {"anyOf": [classes, {"type": "null"}], "description": "Only these classes"},
    }


def _object(properties: Json, example: Any = None, required: tuple[str, ...] | None = None) -> Json:
    schema: Json = {"type": "object", "properties": properties}
    if required := tuple(properties) if required is None else required:
        schema["required"] = list(required)
    return schema if example is None else schema | {"example": example}


def _string(text: str = "") -> Json:
    return {"type": "string", "description": text} if text else {"type": "string"}


def _integer(least: int, most: int | None = None) -> Json:
    return {"type": "integer", "minimum": least} | ({} if most is None else {"maximum": most})


def _list(items: Json, least: int = 0, most: int | None = None) -> Json:
    return {"type": "array", "items": items, "minItems": least} | ({} if most is None else {"maxItems": most})


def _ref(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


def _media(schema: str) -> Json:
    return {"schema": _ref("schemas", schema)}


def _answer(text: str, schema: str) -> Json:
    return {"description": text, "content": {"application/json": _media(schema)}}


def _errors(statuses: Any) -> Json:
    return {status: _answer(ERRORS[status], "Error") for status in statuses}

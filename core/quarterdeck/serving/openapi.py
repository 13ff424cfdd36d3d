"""The OpenAPI document: every route as it is, and for each deployment what its version takes now."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from quarterdeck.registry.values import LARGEST_INTEGER
from quarterdeck.serving.access import OPEN
from quarterdeck.serving.columns import DATATYPES, Column
from quarterdeck.serving.external import LabelsBody, PredictionsBody
from quarterdeck.serving.invocations import CSV, InvocationsRequest, InvocationsResponse
from quarterdeck.serving.protocol import LONGEST_ID, OUTPUTS, InferRequest, InferResponse
from quarterdeck.serving.routing import ActiveRoute

Json = dict[str, Any]
JSON = "application/json"
_REF = "#/components/schemas/{name}"
_TYPES: dict[str, tuple[str, str, list[str]]] = {
    "number": ("number", "FP64", ["FP32", "FP64"]),
    "integer": ("integer", "INT64", ["INT32", "INT64"]),
    "text": ("string", "BYTES", ["BYTES"]),
    "boolean": ("boolean", "BOOL", ["BOOL"]),
}
_INTEGER = {"minimum": -LARGEST_INTEGER, "maximum": LARGEST_INTEGER}
_ERRORS = {
    400: "The request does not fit: the column and what was expected are named.",
    401: "No token, or one that is unknown or was revoked.",
    403: "The token is not for this deployment.",
    404: "Nothing of that name, or another version answers: what is there is named.",
    409: "Refused: predictions for a deployment that is served here, or a read-only workspace.",
    413: "The body is larger than `gateway.max_body_bytes`.",
    415: "The content-encoding is neither gzip nor deflate.",
    500: "The model failed on an input that fits.",
    503: "The model is being loaded, too many requests wait, or a database is locked: `retry-after` says when.",
}
_TAKING = (400, 404, 413, 415, 500, 503)
_BINARY = (
    "Tensors may follow the JSON as bytes: `binary_data_size` in a tensor's parameters, and the header "
    "`Inference-Header-Content-Length` with the length of the JSON. `binary_data` in an output's parameters, or "
    "`binary_data_output` in the request's, asks for the answer in that form. gzip and deflate bodies are taken."
)


def document(routes: Sequence[ActiveRoute], version: str, *, token: bool) -> Json:
    """The document of a gateway that answers by `routes`; `version` is Quarterdeck's.

    `token`: all but health needs one.
    """
    bodies = (InferRequest, InferResponse, InvocationsRequest, InvocationsResponse, PredictionsBody, LabelsBody)
    _, schemas = msgspec.json.schema_components(bodies, ref_template=_REF)
    schemas["Error"] = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
    schemas["Tensor"]["properties"]["datatype"] = {"type": "string", "enum": sorted(DATATYPES)}
    schemas["Tensor"]["properties"]["shape"] |= {"minItems": 1, "maxItems": 2, "items": {"type": "integer"}}
    schemas["RequestedOutput"]["properties"]["name"] = {"type": "string", "enum": list(OUTPUTS)}
    schemas["InferRequest"]["properties"]["id"]["anyOf"][0]["maxLength"] = LONGEST_ID
    paths = {**_server_paths(), **_model_paths()}
    for route in routes:
        paths |= _route_paths(route)
        schemas |= _route_schemas(route)
    whole = {
        "openapi": "3.1.0",
        "info": {"title": "Quarterdeck gateway", "version": version, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {"schemas": schemas},
    }
    return _guarded(whole) if token else whole


def _guarded(whole: Json) -> Json:
    """The document with the token that each operation needs."""
    for path, operations in whole["paths"].items():
        for method in {"get", "post"} & operations.keys() if path not in OPEN else ():
            operations[method]["responses"] |= _refusals(401, 403)
            operations[method]["security"] = [{"token": []}]
    whole["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return whole


def _server_paths() -> Json:
    flag = {"type": "object", "additionalProperties": {"type": "boolean"}}
    ready = _operation("Every deployment had the chance to load its model", flag)
    ready["responses"]["503"] = ready["responses"]["200"] | {"description": "Not yet"}
    return {
        "/v2": {"get": _operation("The server and its extensions", _anything())},
        "/v2/health/live": {"get": _operation("The server lives", flag)},
        "/v2/health/ready": {"get": ready},
        "/metrics": {"get": _operation("Counts for Prometheus", {"type": "string"}, kind="text/plain")},
        "/openapi.json": {"get": _operation("This document", _anything())},
    }


def _model_paths() -> Json:
    paths: Json = {}
    for version in ("", "/versions/{version}"):
        names = ["deployment", "version"] if version else ["deployment"]
        base = f"/v2/models/{{deployment}}{version}"
        ready = _operation("The model can answer", _anything(), (404, 503))
        infer = _operation("Predict, by the Open Inference Protocol V2", _ref("InferResponse"), _TAKING)
        paths[base] = {"get": _operation("Inputs and outputs of the model", _anything(), (404, 503))}
        paths[f"{base}/ready"] = {"get": ready}
        paths[f"{base}/infer"] = {"post": infer | {"description": _BINARY} | _takes({JSON: _ref("InferRequest")})}
        for path in (base, f"{base}/ready", f"{base}/infer"):
            paths[path]["parameters"] = [_in_path(name) for name in names]
    taking = (*_TAKING, 409)
    invoke = _operation("Predict, by MLflow's scoring protocol", _ref("InvocationsResponse"), _TAKING)
    predictions = _operation("Report predictions that were made elsewhere", _anything(), taking)
    labels = _operation("Attach labels to predictions", _anything(), taking)
    posts = {
        "/invocations/{deployment}": invoke | _takes({JSON: _ref("InvocationsRequest"), CSV: {"type": "string"}}),
        "/v2/models/{deployment}/predictions": predictions | _takes({JSON: _ref("PredictionsBody")}),
        "/v2/models/{deployment}/labels": labels | _takes({JSON: _ref("LabelsBody")}),
    }
    return paths | {
        path: {"post": operation, "parameters": [_in_path("deployment")]} for path, operation in posts.items()
    }


def _route_paths(route: ActiveRoute) -> Json:
    """The routes of one deployment, with requests of one row that its version takes; more rows go the same way."""
    name, row = route.deployment, route.model.example
    tensors = [
        {"name": column.name, "shape": [1], "datatype": _TYPES[column.type][1], "data": [row[column.name]]}
        for column in route.inputs.columns
    ]
    infer = _operation(f"Predict by {name}", _ref("InferResponse"), _TAKING)
    invoke = _operation(f"Predict by {name}, by MLflow's scoring protocol", _ref("InvocationsResponse"), _TAKING)
    infer_body = _takes({JSON: _ref(f"{name}.InferRequest")}, {"inputs": tensors})
    invoke_body = _takes({JSON: _ref(f"{name}.InvocationsRequest")}, {"dataframe_records": [row]})
    return {
        f"/v2/models/{name}/infer": {"post": infer | {"description": _BINARY} | infer_body},
        f"/invocations/{name}": {"post": invoke | invoke_body},
    }


def _route_schemas(route: ActiveRoute) -> Json:
    name, columns = route.deployment, route.inputs.columns
    row: Json = {
        "type": "object",
        "required": [column.name for column in columns if column.missing in (None, "reject")],
        "properties": {column.name: _value(column) for column in columns},
    }
    if (key := route.inputs.signature.key) is not None:
        row["properties"] |= {key: {"type": ["string", "integer", "null"], **_INTEGER}}
    records = {"type": "array", "minItems": 1, "items": _ref(f"{name}.Row")}
    tensors = [_tensor(column) for column in columns]
    inputs = {"type": "array", "prefixItems": tensors, "items": False, "minItems": len(tensors)}
    outputs = {"type": ["array", "null"], "items": _ref("RequestedOutput")}
    return {
        f"{name}.Row": row,
        f"{name}.InferRequest": {
            "type": "object",
            "required": ["inputs"],
            "properties": {
                "id": {"type": ["string", "null"], "maxLength": LONGEST_ID},
                "inputs": inputs,
                "outputs": outputs,
            },
        },
        f"{name}.InvocationsRequest": {
            "type": "object",
            "required": ["dataframe_records"],
            "properties": {"dataframe_records": records},
        },
    }


def _tensor(column: Column) -> Json:
    return {
        "type": "object",
        "required": ["name", "shape", "datatype", "data"],
        "properties": {
            "name": {"const": column.name},
            "shape": {"enum": [[1], [1, 1]]},
            "datatype": {"enum": _TYPES[column.type][2]},
            "data": {"type": "array", "minItems": 1, "maxItems": 1, "items": _value(column)},
        },
    }


def _value(column: Column) -> Json:
    """The schema of one value."""
    if column.known is not None:
        known = [value == "True" if column.type == "boolean" else value for value in sorted(column.known)]
        return {"enum": [*known, None] if column.nullable else known}
    kind = _TYPES[column.type][0]
    schema: Json = {"type": [kind, "null"] if column.nullable else kind}
    if column.type == "integer":
        schema |= _INTEGER
    return schema


def _operation(summary: str, schema: Json, errors: Sequence[int] = (), *, kind: str = JSON) -> Json:
    done = {"description": "Done", "content": {kind: {"schema": schema}}}
    return {"summary": summary, "responses": {"200": done, **_refusals(*errors)}}


def _refusals(*errors: int) -> Json:
    content = {JSON: {"schema": _ref("Error")}}
    return {str(status): {"description": _ERRORS[status], "content": content} for status in errors}


def _takes(schemas: dict[str, Json], example: Json | None = None) -> Json:
    content = {kind: {"schema": schema} for kind, schema in schemas.items()}
    if example is not None:
        content[JSON]["example"] = json.loads(msgspec.json.encode(example))
    return {"requestBody": {"required": True, "content": content}}


def _in_path(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _ref(name: str) -> Json:
    return {"$ref": _REF.format(name=name)}


def _anything() -> Json:
    return {"type": "object"}

"""The OpenAPI document: whole in itself, and as strict as the gateway about what each version takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from quarterdeck.registry.signature import Feature, Signature
from quarterdeck.serving import invocations, openapi, protocol
from quarterdeck.serving.columns import Column
from quarterdeck.serving.inputs import Inputs
from quarterdeck.serving.routing import ActiveRoute
from quarterdeck.serving.runtime import LoadedModel

NOW = datetime(2026, 1, 6, tzinfo=UTC)
SIGNATURE = Signature(
    (
        Feature("amount", "number", nullable=True),
        Feature("visits", "integer", nullable=False),
        Feature("channel", "text", nullable=False, categories=("app", "web")),
        Feature("member", "boolean", nullable=True),
    ),
    target="fraud",
    classes=("no", "yes"),
    key="payment",
)
EXAMPLE = {"amount": 1.5, "visits": 3, "channel": "app", "member": None}


def route(*columns: Column) -> ActiveRoute:
    predictor: Any = None  # it is never asked
    lane: Any = None
    model = LoadedModel("key", "fraud", 3, "skops", SIGNATURE, EXAMPLE, predictor, lane)
    inputs = Inputs(SIGNATURE, columns) if columns else Inputs.of(SIGNATURE)
    return ActiveRoute("fraud", 1, model, inputs, NOW)


def document(*routes: ActiveRoute, token: bool = False) -> dict[str, Any]:
    return openapi.document(routes, "1.0", token=token)


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "$ref")
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_reference_leads_somewhere_and_it_is_json() -> None:
    whole = json.loads(msgspec.json.encode(document(route())))
    found = set(references(whole))
    assert found
    assert {name.removeprefix("#/components/schemas/") for name in found} <= whole["components"]["schemas"].keys()


def test_the_examples_of_a_deployment_are_taken() -> None:
    paths = document(route())["paths"]
    bodies = [
        paths[path]["post"]["requestBody"]["content"]["application/json"]["example"]
        for path in ("/v2/models/fraud/infer", "/invocations/fraud")
    ]
    infer, invoke = (json.dumps(body).encode() for body in bodies)
    inputs = route().inputs
    expected = {name: [value] for name, value in EXAMPLE.items()}
    assert protocol.parse(infer, inputs, NOW).columns == expected
    assert invocations.parse(invoke, inputs, NOW).columns == expected


def test_a_row_has_the_types_and_the_policies_of_its_columns() -> None:
    row = document(
        route(
            Column("amount", "number", missing="impute", value=1.0),
            Column("visits", "integer", refuses_missing=True, nullable=False),
            Column("channel", "text", known=frozenset({"web", "app"}), nullable=False),
            Column("member", "boolean", known=frozenset({"True", "False"})),
        )
    )["components"]["schemas"]["fraud.Row"]
    assert row["required"] == ["visits", "channel", "member"]
    values = row["properties"]
    assert values["amount"]["type"] == ["number", "null"]
    assert values["visits"]["type"] == "integer"
    assert values["channel"] == {"enum": ["app", "web"]}
    assert values["member"] == {"enum": [False, True, None]}
    assert values["payment"]["type"] == ["string", "integer", "null"]


def test_where_tokens_are_needed_every_route_but_health_says_so() -> None:
    paths = document(route(), token=True)["paths"]
    guarded = {
        path
        for path, operations in paths.items()
        if any("security" in one for one in operations.values() if "summary" in one)
    }
    assert set(paths) - guarded == {"/v2", "/v2/health/live", "/v2/health/ready"}
    assert {"401", "403"} <= paths["/invocations/fraud"]["post"]["responses"].keys()
    assert "securitySchemes" not in document(route())["components"]

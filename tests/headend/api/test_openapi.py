"""The OpenAPI document: valid, complete, and true."""

from __future__ import annotations

from typing import Any

import pytest

from headend.api.openapi import document
from headend.api.operations import OPERATIONS


async def test_an_outside_validator_finds_nothing(head: Any) -> None:
    validator = pytest.importorskip(
        "openapi_spec_validator", reason="needs openapi-spec-validator: pip install '.[test]'"
    )
    served = await (await head.call("GET", "/api/openapi.json", token=None)).json()
    assert served["openapi"] == "3.1.0"
    validator.validate(served)


async def test_every_route_is_described_and_every_description_is_a_route(head: Any) -> None:
    served = await (await head.call("GET", "/api/openapi.json")).json()
    described = {(method.upper(), path) for path, row in served["paths"].items() for method in row}
    routes = {
        (route.method, route.resource.canonical)
        for route in head.client.app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    aside = {("GET", "/"), ("GET", "/metrics"), ("GET", "/api/openapi.json")}
    assert described == {r for r in routes if not r[1].startswith("/{")} - aside


def test_every_request_is_explained() -> None:
    for op in OPERATIONS:
        assert len(op.summary) > 10, op.path
        assert op.guard != "open" or op.method == "GET"
        assert op.guard == "write" or op.method == "GET", f"{op.method} {op.path} must need the token"


def test_references_lead_somewhere() -> None:
    whole = document(OPERATIONS, "1")

    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [r for value in node.values() for r in references(value)]
        return [r for value in node for r in references(value)] if isinstance(node, list) else []

    found = references(whole)
    assert found
    for reference in found:
        node = whole
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


async def test_answers_are_as_described(head: Any) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="comes with openapi-spec-validator: pip install '.[test]'")
    served = await (await head.call("GET", "/api/openapi.json")).json()
    for path, row in served["paths"].items():
        if "get" not in row or path == "/api/v1/events":
            continue
        response = await head.call("GET", path.replace("{channel}", "news"))
        schema = row["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema.Draft202012Validator({**schema, "components": served["components"]}).validate(await response.json())

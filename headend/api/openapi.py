"""The OpenAPI 3.1 document, made from the operations and their models: what is served is what is described."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from headend.api.models import ProblemDetails
from headend.api.operations import Operation
from headend.api.problem import MEDIA_TYPE

_PROBLEM_REF: Final = {"$ref": "#/components/schemas/ProblemDetails"}
_REASONS: Final = {
    400: "The request cannot be read.",
    401: "The token is missing or wrong.",
    404: "There is no such channel.",
    409: "The channel cannot do that now.",
    412: "The schedule is at another version by now.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The request can be read, and something in it is wrong.",
    428: "If-Match is missing.",
    429: "Too many wrong tokens from this address.",
    502: "The worker gave no usable answer.",
    503: "The worker cannot be reached, or there are too many clients, or it is not ready.",
    504: "The worker did not answer in time.",
}


def document(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """The whole document."""
    answers: list[type[BaseModel]] = [*(op.answer for op in operations if op.answer), ProblemDetails]
    bodies: list[type[BaseModel]] = [op.body for op in operations if op.body]
    modes: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = []
    modes += [(model, "serialization") for model in dict.fromkeys(answers)]
    modes += [(model, "validation") for model in dict.fromkeys(bodies)]
    _, schemas = models_json_schema(
        modes,
        ref_template="#/components/schemas/{model}",
    )
    paths: dict[str, dict[str, Any]] = {}
    for op in operations:
        paths.setdefault(op.path, {})[op.method.lower()] = _operation(op)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Head end",
            "version": version or "0",
            "description": "Channels, schedules, live takes, as-run records, events and state. Times are ISO 8601; "
            "errors are RFC 9457 problem details. Changes need the administrator's token; reading does where the "
            "head end listens beyond loopback.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(op.tag for op in operations)],
        "paths": paths,
        "components": {
            "schemas": schemas.get("$defs", {}),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "HEADEND_TOKEN."}},
        },
    }


def _operation(op: Operation) -> dict[str, Any]:
    row: dict[str, Any] = {
        "operationId": op.name,
        "tags": [op.tag],
        "summary": op.summary,
        "parameters": _parameters(op),
        "responses": _responses(op),
        "security": {"write": [{"token": []}], "read": [{}, {"token": []}], "open": [{}]}[op.guard],
    }
    if op.description:
        row["description"] = op.description
    if op.body:
        row["requestBody"] = {
            "required": not op.body_optional,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{op.body.__name__}"}}},
        }
    return row


def _parameters(op: Operation) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", op.path)
    ]
    if op.query:
        rows += _query(op.query)
    if op.on_air:
        rows.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "A UUID: the same command sent again with it is answered again, not done again.",
                "schema": {"type": "string", "maxLength": 255},
            }
        )
    if op.versioned:
        rows.append(
            {
                "name": "If-Match",
                "in": "header",
                "required": True,
                "description": "The ETag of the schedule that the change was made from.",
                "schema": {"type": "string"},
            }
        )
    if "text/event-stream" in op.media:
        rows.append({"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}})
    return rows


def _query(model: type[BaseModel]) -> list[dict[str, Any]]:
    properties: dict[str, dict[str, Any]] = model.model_json_schema()["properties"]
    rows = []
    for name, schema in properties.items():
        rest = {key: value for key, value in schema.items() if key not in ("description", "title")}
        rows.append({"name": name, "in": "query", "description": schema.get("description", ""), "schema": rest})
    return rows


def _responses(op: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for media in op.media.split(", "):
        described = op.answer is not None and media == "application/json"
        content[media] = {
            "schema": {"$ref": f"#/components/schemas/{op.answer.__name__}"}
            if described and op.answer
            else {"type": "string"}
        }
    good: dict[str, Any] = {"description": "Done." if op.guard == "write" else "As asked.", "content": content}
    if "schedule" in op.path:
        good["headers"] = {"ETag": {"description": "The schedule's version.", "schema": {"type": "string"}}}
    statuses = set(op.statuses)
    if op.guard != "open":
        statuses |= {401, 429}
    if "{" in op.path:
        statuses |= {404, 502, 503, 504}
    if op.body:
        statuses |= {400, 409, 413, 415, 422}
    if op.query:
        statuses |= {422}
    if op.versioned:
        statuses |= {412, 428}
    problem = {MEDIA_TYPE: {"schema": _PROBLEM_REF}}
    rows: dict[str, Any] = {"200": good}
    for status in sorted(statuses):
        # /readyz answers its own form with 503.
        own = op.path == "/readyz" and status == 503
        rows[str(status)] = {"description": _REASONS[status], "content": content if own else problem}
    return rows

"""Errors as RFC 9457 problem details: a status, a title, and a sentence that says what to do about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from pydantic import ValidationError

MEDIA_TYPE: Final = "application/problem+json"
_URN: Final = "urn:headend:problem:"


class Problem(Exception):
    """An answer that is not the one asked for.

    ``kind`` names the sort of trouble for programs (``type`` is ``urn:headend:problem:KIND``), ``detail`` is for
    people. ``members`` are extension members of the document (RFC 9457, 3.2).
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        title: str = "",
        headers: dict[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.title = title or _phrase(status)
        self.headers = headers or {}
        self.members = members

    def to_json(self) -> dict[str, Any]:
        """The problem document."""
        return {
            **self.members,
            "type": _URN + self.kind,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }

    def response(self) -> web.Response:
        """The HTTP answer that carries the document."""
        return web.Response(
            status=self.status,
            body=json.dumps(self.to_json(), ensure_ascii=False).encode(),
            headers={"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store", **self.headers},
        )


def from_reply(name: str, problem: dict[str, Any]) -> Problem:
    """The problem that a worker gave as its answer on the bus (``{"status", "title", "detail"}``)."""
    status = problem.get("status")
    status = status if isinstance(status, int) and 400 <= status <= 599 else 502
    detail = str(problem.get("detail") or f"the worker {name} refused the request and gave no reason")
    known = {"status", "title", "detail", "type", "kind"}
    extra = {str(key): value for key, value in problem.items() if key not in known}
    kind = str(problem.get("kind") or _KINDS.get(status, "refused"))
    return Problem(status, kind, detail, title=str(problem.get("title") or ""), **extra)


def from_validation(where: str, error: ValidationError) -> Problem:
    """422 with one sentence for each thing that is wrong in ``where`` (the body, the query)."""
    rows = [{"pointer": _pointer(row["loc"]), "detail": _sentence(row)} for row in error.errors()]
    first = f"{rows[0]['pointer'] or where}: {rows[0]['detail']}"
    more = f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""
    return Problem(
        422,
        "invalid",
        f"{where} is not what this request takes, so nothing was changed: {first}{more}",
        errors=rows,
    )


def from_http(error: web.HTTPException, method: str, path: str) -> Problem:
    """What aiohttp itself answers (no such path, body too large, ...) in the same form."""
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    match error.status:
        case 404:
            detail = f"there is nothing at {path}; what there is stands in /api/openapi.json"
        case 405:
            detail = f"{path} does not take {method}; it takes {headers.get('Allow', 'other methods')}"
        case 413:
            detail = f"the body of this {method} is larger than {path} takes, so it was not read; send less at a time"
        case _:
            detail = error.reason or _phrase(error.status)
    return Problem(error.status, _KINDS.get(error.status, "http"), detail, headers=headers)


_KINDS: Final = {
    400: "malformed",
    401: "token-missing",
    403: "forbidden",
    404: "not-found",
    405: "method",
    409: "conflict",
    412: "version",
    413: "too-large",
    422: "invalid",
    503: "worker-away",
    504: "worker-silent",
}


def _pointer(path: Sequence[str | int]) -> str:
    """A JSON pointer (RFC 6901); the empty one is the whole document."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Problem"


def _sentence(row: Any) -> str:
    match row["type"]:
        case "extra_forbidden":
            return "there is no such field; it was refused because a misspelt field would be ignored silently"
        case "missing":
            return "this field is required"
        case "value_error":
            return str(row["msg"]).removeprefix("Value error, ")
        case _:
            return str(row["msg"][:1].lower() + row["msg"][1:])

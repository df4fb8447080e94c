"""The OpenAPI document: every route with its summary, an example, and every error it can give."""

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from app.api import problems
from app.api.asking import idempotency_key
from app.api.routing import Route

TITLE: Final = "Towpath"
VERSION: Final = "1"
DESCRIPTION: Final = (
    "Durable, fair and budgeted job queues for long-running LLM work. Send an API key as "
    "`Authorization: Bearer tp_…`. Every error is `application/problem+json` with a stable `code`."
)

ALWAYS: Final = ("internal_error",)
WITH_CALLER: Final = (
    "unauthenticated", "forbidden", "tenant_suspended", "unavailable", "rate_limited_requests",
    "limits_unavailable",
)  # fmt: skip
WITH_INPUT: Final = ("validation_failed", "bad_request")
WITH_BODY: Final = ("invalid_json", "payload_too_large", "unsupported_media_type")

_EXAMPLE_ID: Final = "01kb1c2v3e4m5n6p7q8r9s0t1v"
_PATH_EXAMPLES: Final = {
    "/v1/jobs": f"job_{_EXAMPLE_ID}",
    "/v1/schedules": f"sch_{_EXAMPLE_ID}",
    "/v1/keys": f"key_{_EXAMPLE_ID}",
    "/v1/webhook_endpoints": f"whe_{_EXAMPLE_ID}",
    "/v1/collections": "handbook",
    "/v1/workflows": "answer",
    "/v1/admin/workflows": "answer",
    "/v1/admin/tenants": f"key_{_EXAMPLE_ID}",
    "/v1/admin/workers": f"wrk_{_EXAMPLE_ID}",
}
_NAMED_EXAMPLES: Final = {
    "document": f"doc_{_EXAMPLE_ID}",
    "delivery": f"dlv_{_EXAMPLE_ID}",
    "number": 3,
    "lane": "batch",
    "tenant": "acme",
    "verb": "pause",
    "switch": "model_calls",
    "plan": "small",
    "tool": "http.request",
    "step": "remind",
}
# Named in the query of the one DELETE that has no path for it.
_CAP_EXAMPLE: Final = {"kind": "workflow", "name": "answer", "tenant": "acme", "reason": "it holds"}
_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "description": "A refusal (RFC 9457). `code` is permanent; the words may change.",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "enum": sorted(problems.STATUS)},
        "request_id": {"type": ["string", "null"]},
        "errors": {
            "type": "array",
            "description": "A JSON Pointer for each bad field; `in` where it isn't in the body.",
            "items": {
                "type": "object",
                "required": ["pointer", "message"],
                "properties": {
                    "pointer": {"type": "string"},
                    "message": {"type": "string"},
                    "in": {"type": "string", "enum": ["query", "header", "path"]},
                },
            },
        },
    },
}
_KEY_PARAMETER: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Your name for this intent: the same request again answers with the first object.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "example": '"order-1042"',
}


def raises(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route, for its `responses`. Those of every route are added by `document`."""
    responses: dict[str, dict[str, Any]] = {}
    for code in codes:
        _add(responses, code)
    return {int(status): response for status, response in responses.items()}


def document(app: FastAPI) -> dict[str, Any]:
    """The whole document of an application."""
    made = get_openapi(
        title=TITLE, version=VERSION, description=DESCRIPTION, routes=app.routes,
        servers=[{"url": "/"}],
    )  # fmt: skip
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = _PROBLEM
    made["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key, `tp_…`."}
    }
    for route in routes(app):
        for method in route.methods or ():
            _complete(route, made["paths"][route.path_format][method.lower()])
    for name, examples in _examples(app):
        if name in schemas:
            schemas[name]["examples"] = examples
    for schema in schemas.values():
        _exemplify_list(schema, schemas)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return made


def routes(app: FastAPI) -> Iterator[Route]:
    """The routes of the API that the document shows."""
    return (one for one in _flat(app.routes) if isinstance(one, Route) and one.include_in_schema)


def _flat(found: Any) -> Iterator[Any]:
    for one in found:
        inner = getattr(one, "routes", None)
        if inner is None:
            yield one
        else:
            yield from _flat(inner)


def _complete(route: Route, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
    codes = list(ALWAYS)
    if route.guard is not None:
        operation["security"] = [{"key": []}]
        operation["x-scope"] = route.guard.scope
        codes += WITH_CALLER
    if operation.get("parameters") or route.body_field is not None:
        codes += WITH_INPUT
    if "requestBody" in operation:
        codes += WITH_BODY
    for code in codes:
        _add(responses, code)
    if any(one.call is idempotency_key for one in route.dependant.dependencies):
        operation.setdefault("parameters", []).append(_KEY_PARAMETER)
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            parameter["example"] = _path_example(route.path_format, parameter["name"])
        elif route.path_format == "/v1/admin/caps":
            parameter["example"] = _CAP_EXAMPLE[parameter["name"]]


def _examples(app: FastAPI) -> Iterator[tuple[str, list[Any]]]:
    """The examples of all models by name. FastAPI leaves the nulls out of its own copies."""
    for route in routes(app):
        taken = [one.field_info.annotation for one in route.dependant.body_params]
        for model in (route.response_model, *taken):
            if isinstance(model, type) and issubclass(model, BaseModel):
                whole = model.model_json_schema(mode="serialization")
                for name, schema in {model.__name__: whole, **whole.get("$defs", {})}.items():
                    if "examples" in schema:
                        yield name, schema["examples"]


def _exemplify_list(schema: dict[str, Any], schemas: dict[str, Any]) -> None:
    """A page shows one of what it lists."""
    item = schema.get("properties", {}).get("data", {}).get("items", {}).get("$ref", "")
    shown = schemas.get(item.rpartition("/")[2], {}).get("examples")
    if "next_cursor" in schema.get("properties", {}) and shown:
        schema["examples"] = [{"data": [shown[0]], "next_cursor": None}]


def _path_example(path: str, name: str) -> Any:
    if name in _NAMED_EXAMPLES:
        return _NAMED_EXAMPLES[name]
    return next(shown for start, shown in _PATH_EXAMPLES.items() if path.startswith(start))


def _add(responses: dict[str, dict[str, Any]], code: str) -> None:
    status = problems.STATUS[code]
    response = responses.setdefault(str(status), {"description": problems.title_of(code)})
    content = response.setdefault("content", {}).setdefault(
        problems.MEDIA_TYPE, {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}
    )
    if code not in content["examples"]:
        content["examples"][code] = {"value": _example(code, status)}
        response["description"] = " or ".join(problems.title_of(one) for one in content["examples"])


def _example(code: str, status: int) -> dict[str, Any]:
    return {
        "type": f"/problems/{code}",
        "title": problems.title_of(code),
        "status": status,
        "detail": problems.title_of(code) + ".",
        "code": code,
        "request_id": f"req_{_EXAMPLE_ID}",
    }

"""The OpenAPI document, and a page made from it that needs no network and no script."""

import json
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request, Response
from jinja2 import Environment, PackageLoader

from app.api import openapi
from app.api.routing import Route

router: Final = APIRouter(route_class=Route, include_in_schema=False)

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_METHODS: Final = ("get", "post", "put", "patch", "delete")


class Document:
    """The document of one application, made once: it depends on the code alone."""

    def __init__(self, app: FastAPI) -> None:
        self.data = openapi.document(app)
        self.json = json.dumps(self.data).encode()
        self.page = _page(self.data).encode()


@router.get("/openapi.json")
async def get_document(request: Request) -> Response:
    """The OpenAPI document."""
    return Response(_made(request).json, media_type="application/json")


@router.get("/docs")
async def get_page(request: Request) -> Response:
    """The same for people."""
    headers = {"Content-Security-Policy": _POLICY}
    return Response(_made(request).page, headers=headers, media_type="text/html; charset=utf-8")


def _made(request: Request) -> Document:
    # At the first look: a process should not wait for it to start.
    held = request.app.state
    if not hasattr(held, "document"):
        held.document = Document(request.app)
    made: Document = held.document
    return made


def _page(document: dict[str, Any]) -> str:
    pages = Environment(loader=PackageLoader("app.api", "pages"), autoescape=True)
    pages.filters["pretty"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False)
    operations = [
        {"method": method.upper(), "path": path, **operation, "body": _body(operation, document)}
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in _METHODS
    ]
    return pages.get_template("docs.html").render(info=document["info"], operations=operations)


def _body(operation: dict[str, Any], document: dict[str, Any]) -> Any:
    """An example of what to send, where something is sent."""
    for content in operation.get("requestBody", {}).get("content", {}).values():
        if "example" in content:
            return content["example"]
        name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
        examples = document["components"]["schemas"].get(name, {}).get("examples")
        if examples:
            return examples[0]
    return None

"""The OpenAPI document: every route with a summary, an example, and every error it can give."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema

from app.api import problems
from tests.api.client import Client
from tests.api.contract import Contract

OPEN = {"/healthz", "/readyz"}


def operations(contract: Contract) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in contract.document["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def codes(operation: dict[str, Any]) -> set[str]:
    return {
        code
        for response in operation["responses"].values()
        for code in response.get("content", {}).get(problems.MEDIA_TYPE, {}).get("examples", {})
    }


def test_every_route_has_a_summary_and_names_its_errors(contract: Contract) -> None:
    for method, path, operation in operations(contract):
        said = codes(operation)
        assert len(operation["summary"]) > 5, path
        assert not operation["summary"].endswith("."), path
        assert "internal_error" in said, path
        if path not in OPEN:
            assert operation["security"] == [{"key": []}]
            assert {"unauthenticated", "forbidden", "tenant_suspended", "unavailable"} <= said, path
        if "requestBody" in operation:
            assert {"payload_too_large", "unsupported_media_type", "validation_failed"} <= said, (
                path
            )
        if "{" in path and method != "post":
            assert "not_found" in said, path


def examples(contract: Contract, operation: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Each example with the schema that it should fit."""
    bodies = [operation.get("requestBody", {})]
    bodies += [said for status, said in operation["responses"].items() if status < "300"]
    for body in bodies:
        for content in body.get("content", {}).values():
            schema = content.get("schema", {})
            if "example" in content:
                yield content["example"], schema
            name = schema.get("$ref", "").rpartition("/")[2]
            for example in (
                contract.document["components"]["schemas"].get(name, {}).get("examples", ())
            ):
                yield example, schema
    for parameter in operation.get("parameters", ()):
        if "example" in parameter:
            yield parameter["example"], {}


def test_every_route_has_an_example_that_fits(contract: Contract) -> None:
    for method, path, operation in operations(contract):
        shown = list(examples(contract, operation))
        assert shown, f"{method} {path}"
        for example, schema in shown:
            jsonschema.validate(example, schema | {"components": contract.document["components"]})


def test_every_schema_is_one(contract: Contract) -> None:
    for schema in contract.document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    assert "HTTPValidationError" not in json.dumps(contract.document)


async def test_document_and_page_are_served_without_the_internet(api: Client) -> None:
    document = await api.get("/openapi.json")
    assert document.json["openapi"].startswith("3.1")
    page = await api.get("/docs")
    assert page.headers["Content-Type"].startswith("text/html")
    text = page.body.decode()
    for path in document.json["paths"]:
        assert f"<code>{path}</code>" in text
    assert "http://" not in text
    assert "https://" not in text.replace("https://example.com", "")
    assert "<script" not in text

"""Every answer is held against the OpenAPI document: its status is one that the route names, its body fits."""

import json
import re
from typing import Any

import jsonschema


class Contract:
    """The document of an API, to check answers by."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._paths = {
            path: re.compile(re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(path)))
            for path in document["paths"]
        }

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        """What is said of a request; None where the document doesn't know the path or the method."""
        bare = path.partition("?")[0]
        found = [known for known, form in self._paths.items() if form.fullmatch(bare)]
        exact = [known for known in found if "{" not in known] or found
        item: dict[str, Any] = self.document["paths"][exact[0]] if exact else {}
        operation: dict[str, Any] | None = item.get(method.lower())
        return operation

    def check(self, method: str, path: str, status: int, content_type: str, body: bytes) -> None:
        """Fails where the answer isn't one that the document promises."""
        operation = self.operation(method, path)
        if operation is None:
            return
        said = operation["responses"].get(str(status))
        assert said is not None, f"{method} {path} says nothing of {status}: {body[:200]!r}"
        kind = content_type.partition(";")[0]
        if not body:
            assert "content" not in said or kind == "text/event-stream", f"{method} {path}: no body"
            return
        assert kind in said["content"], f"{method} {path} {status}: {kind}"
        if kind.endswith("json"):
            schema = said["content"][kind]["schema"] | {"components": self.document["components"]}
            jsonschema.validate(json.loads(body), schema)
            if kind == "application/problem+json":
                assert json.loads(body)["code"] in said["content"][kind]["examples"]

"""A client of the API for tests: sends, and gives back what came."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import aiohttp

from tests.api.contract import Contract

NOOP: dict[str, Any] = {
    "name": "noop",
    "input": {"type": "object"},
    "steps": [{"id": "echo", "kind": "transform", "value": "=input"}],
    "output": "=steps.echo",
}


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One key at one address. `key=None` in a call leaves the credential out."""

    def __init__(self, url: str, secret: str | None, contract: Contract | None = None) -> None:
        self.url = url
        self.secret = secret
        self.contract = contract

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def send(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Bytes go as they are, everything else as JSON."""
        sent: dict[str, str] = {}
        if self.secret is not None:
            sent["Authorization"] = f"Bearer {self.secret}"
        data = body
        if body is not None and not isinstance(body, bytes):
            data = json.dumps(body).encode()
        if isinstance(data, bytes):
            data = io.BytesIO(data)  # aiohttp warns of large bytes
        if body is not None:
            sent["Content-Type"] = "application/json"
        request = self._session.request(
            method, self.url + path, data=data, headers=sent | dict(headers or {})
        )
        async with request as answered:
            reply = Reply(answered.status, answered.headers, await answered.read())
        if self.contract is not None:
            kind = reply.headers.get("Content-Type", "")
            self.contract.check(method, path, reply.status, kind, reply.body)
        return reply

    async def get(self, path: str, **headers: str) -> Reply:
        return await self.send("GET", path, headers=_named(headers))

    async def post(self, path: str, body: Any = None, **headers: str) -> Reply:
        return await self.send("POST", path, body, headers=_named(headers))

    async def delete(self, path: str) -> Reply:
        return await self.send("DELETE", path)

    async def job(self, **fields: Any) -> dict[str, Any]:
        """A job that was admitted."""
        admitted = await self.post("/v1/jobs", {"workflow": "noop", "input": {}} | fields)
        assert admitted.status == 202, admitted.body
        made: dict[str, Any] = admitted.json
        return made


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}

"""`http.get` and `http.request`: what they send, what they give, and where they never go."""

from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import jsonschema
import pytest

from app.core import clock, http
from app.core.http import Sender
from app.core.ids import JobId, TenantId
from app.tools.built_in import requests
from app.tools.errors import ToolCrashed, ToolFailed, ToolOutputTooLarge
from app.tools.tool import Call, Tool
from tests.fakes.receiver import Receiver, Reply, receiving


@pytest.fixture
async def server() -> AsyncIterator[Receiver]:
    async with receiving() as one:
        yield one


def sender(allowed: frozenset[str], *addresses: str) -> Sender:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return http.open_sender(allowed, 5, resolve)


async def call(tool: Tool, **given: Any) -> Any:
    jsonschema.validate(given, tool.input)
    nobody = UUID(int=3)
    made = Call(given, TenantId(nobody), JobId(nobody), "s", 0, "the-key", clock.now())
    answer = await tool.run(made)
    jsonschema.validate(answer, tool.output)
    return answer


def tools(server: Receiver) -> tuple[Tool, Tool]:
    get, request = requests.tools(sender(server.allowed, server.host))
    return get, request


async def test_a_get_gives_status_and_body(server: Receiver) -> None:
    get, _ = tools(server)
    server.replies = [
        Reply(headers={"Content-Type": "application/json", "X-Other": "1"}, body=b'{"n": [1]}'),
        Reply(404, headers={"Content-Type": "text/plain"}, body=b"no\0thing"),
    ]
    where = {"scheme": "http", "host": f"crm.example:{server.port}", "path": "/a b"}
    found = await call(get, **where, query={"q": "é&x", "deep": True}, headers={"X-Key": "7"})
    assert found == {
        "status": 200, "headers": {"content-type": "application/json"}, "json": {"n": [1]}, "text": None,
    }  # fmt: skip
    assert server.got[0].path == "/a%20b?q=%C3%A9%26x&deep=true"
    assert server.got[0].headers["x-key"] == "7"
    missing = await call(get, **where)
    assert (missing["status"], missing["text"]) == (404, "no\ufffdthing")


async def test_a_request_tells_the_effect_key_and_takes_every_status(server: Receiver) -> None:
    _, request = tools(server)
    server.replies = [Reply(503, body=b"later")]
    where = {"scheme": "http", "host": f"crm.example:{server.port}"}
    answer = await call(request, **where, method="POST", json={"to": "ada"})
    assert (answer["status"], answer["text"]) == (503, "later")
    [got] = server.got
    assert (got.headers["idempotency-key"], got.body) == ("the-key", b'{"to": "ada"}')


@pytest.mark.parametrize("tool", [0, 1])
@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("127.0.0.1", ()), ("[::1]", ()), ("169.254.169.254", ()), ("10.0.0.7:8080", ()),
        ("metadata.example", ("169.254.169.254",)), ("mixed.example", ("93.184.215.14", "10.0.0.1")),
        ("2130706433", ()), ("0x7f.1", ()), ("[::ffff:7f00:1]", ()),
    ],
)  # fmt: skip
async def test_what_is_not_public_is_never_reached(
    tool: int, host: str, addresses: tuple[str, ...]
) -> None:
    one = requests.tools(sender(frozenset(), *addresses))[tool]
    given = {"host": host} if tool == 0 else {"host": host, "method": "POST"}
    with pytest.raises(ToolFailed, match="not a public one") as refused:
        await call(one, **given)
    assert not refused.value.retryable


async def test_a_redirect_stays_within_its_origin_and_is_checked_again(server: Receiver) -> None:
    answers = [[server.host], ["10.0.0.1"]]

    async def rebinding(host: str, port: int) -> Sequence[str]:
        return answers.pop(0)

    get, _ = requests.tools(http.open_sender(server.allowed, 5, rebinding))
    server.replies = [Reply(302, headers={"Location": "/inward"})]
    where = {"scheme": "http", "host": f"crm.example:{server.port}"}
    with pytest.raises(ToolFailed, match="not a public one"):
        await call(get, **where)
    get, _ = tools(server)
    elsewhere = "http://169.254.169.254/latest"
    server.replies = [Reply(302, headers={"Location": elsewhere}), Reply(302, headers={"Location": "/b"}), Reply()]  # fmt: skip
    answer = await call(get, **where)
    assert (answer["status"], answer["headers"]["location"]) == (302, elsewhere)
    assert (await call(get, **where))["text"] == "ok"
    server.otherwise = Reply(302, headers={"Location": "/again"})
    before = len(server.got)
    assert (await call(get, **where))["status"] == 302
    assert len(server.got) - before == requests.REDIRECTS + 1


async def test_faults_say_whether_the_request_may_have_been_served(server: Receiver) -> None:
    get, request = tools(server)
    where = {"scheme": "http", "host": f"crm.example:{server.port}"}
    server.replies = [Reply(503), Reply(body=b"x" * (requests.BODY_BYTES + 1))]
    with pytest.raises(ToolFailed) as busy:
        await call(get, **where)
    assert busy.value.retryable
    with pytest.raises(ToolOutputTooLarge):
        await call(get, **where)
    nobody = requests.tools(sender(frozenset({"127.0.0.1:9"}), "127.0.0.1"))[1]
    with pytest.raises(ToolFailed, match="could not connect") as unreached:
        await call(nobody, scheme="http", host="crm.example:9", method="POST")
    assert unreached.value.retryable
    server.otherwise = Reply(headers={"Content-Length": "-5"})  # no HTTP, but somebody was there
    with pytest.raises(ToolCrashed):
        await call(request, **where, method="POST")


@pytest.mark.parametrize(
    "given",
    [
        {"host": "user@evil.example"}, {"host": "a.example/path"}, {"host": "A.example#x"}, {"host": "a..example"},
        {"host": "a.example", "path": "no-slash"}, {"host": "a.example", "headers": {"Host": "b"}},
        {"host": "a.example", "headers": {"cookie": "b"}}, {"host": "a.example", "headers": {"x": "a\r\nb"}},
        {"host": "a.example", "headers": {"Idempotency-Key": "mine"}}, {"host": "a.example", "scheme": "file"},
        {"host": "a.example", "url": "https://b"}, {},
    ],
)  # fmt: skip
def test_arguments_that_say_something_else_are_refused(given: dict[str, Any]) -> None:
    get, _ = requests.tools(sender(frozenset()))
    assert not jsonschema.Draft202012Validator(get.input).is_valid(given)

"""The API as the command line calls it, and what a script learns from an exit status.

Address and key come from `--url` and `--api-key`, else TOWPATH_URL and TOWPATH_API_KEY, else from the
local stack that runs. Exit status: 0 done; 1 refused (the problem is on standard error); 2 not tried
or out of reach; 3 the job that was waited for has not succeeded.
"""

import http.client
import json
import secrets
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote, urlencode, urlsplit

import typer

REFUSED: Final = 1
UNUSABLE: Final = 2
UNHAPPY: Final = 3
TIMEOUT_SECONDS: Final = 60  # beyond the longest wait of the API, 30 s
TRIES: Final = 4
LONGEST_PAUSE_SECONDS: Final = 30
JSON: Final = "application/json"

Url = Annotated[str | None, typer.Option("--url", envvar="TOWPATH_URL", help="Where the API is.")]
Key = Annotated[
    str | None, typer.Option("--api-key", envvar="TOWPATH_API_KEY", help="An API key, tp_….")
]


@dataclass(frozen=True, slots=True)
class Api:
    """An API and the key to call it with."""

    url: str
    key: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Its body, read."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Told:
    """One Server-Sent Event."""

    id: str
    type: str
    data: Any


def group(help_text: str) -> typer.Typer:
    """Commands of clients under one name; each takes address and key before its own words."""
    made = typer.Typer(help=help_text, no_args_is_help=True)

    @made.callback()
    def remember(context: typer.Context, url: Url = None, api_key: Key = None) -> None:
        context.obj = (url, api_key)

    return made


def of(context: typer.Context) -> Api:
    """The API that a command is for. Ends the command where there is none."""
    return find(*context.obj)


def find(url: str | None, key: str | None) -> Api:
    """The API of these, or of the local stack that runs. Ends the command where there is none."""
    if url is None or key is None:
        here = _local()
        url, key = url or here[0], key or here[1]
    if url is None or key is None:
        missing = "TOWPATH_URL" if url is None else "TOWPATH_API_KEY"
        raise ended(f"Set {missing}, or start `towpath up`.", UNUSABLE)
    if urlsplit(url).scheme not in ("http", "https"):
        raise ended(f"{url} is no address of an API.", UNUSABLE)
    return Api(url.rstrip("/"), key)


def get(api: Api, path: str, **query: Any) -> Any:
    """The JSON of a path. Ends the command where it is refused."""
    return call(api, "GET", path, query=query).json


def pages(api: Api, path: str, limit: int, **query: Any) -> list[Any]:
    """Up to so many of a list, over as many pages as that takes."""
    found: list[Any] = []
    cursor = None
    while len(found) < limit:
        page = get(api, path, limit=min(200, limit - len(found)), cursor=cursor, **query)
        found += page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    return found


def post(api: Api, path: str, body: Any = None, *, intent: str | None = None) -> Answer:
    """Send something new under a key of its own, so that it may be sent again."""
    data = None if body is None else json.dumps(body).encode()
    return call(api, "POST", path, data=data, intent=intent or f"cli-{secrets.token_hex(16)}")


def call(
    api: Api,
    method: str,
    path: str,
    *,
    data: bytes | None = None,
    content_type: str = JSON,
    intent: str | None = None,
    query: Mapping[str, Any] | None = None,
) -> Answer:
    """One request, sent again while the API is overloaded or away, as long as that is safe.

    `intent` is its idempotency key. Ends the command where the request is refused.
    """
    headers = {"Authorization": f"Bearer {api.key}", "Accept": JSON}
    if data is not None:
        headers["Content-Type"] = content_type
    if intent is not None:
        headers["Idempotency-Key"] = intent
    given = {name: value for name, value in (query or {}).items() if value is not None}
    target = path + (f"?{urlencode(given, doseq=True)}" if given else "")
    safe = intent is not None or method in ("GET", "DELETE")
    for tries_left in reversed(range(TRIES if safe else 1)):
        try:
            answer = _send(api, method, target, data, headers)
        except (OSError, http.client.HTTPException) as fault:
            if not tries_left:
                raise ended(f"{api.url} is out of reach: {fault}", UNUSABLE) from None
            _pause(1)
        else:
            if answer.status < 400:
                return answer
            if answer.status != http.HTTPStatus.SERVICE_UNAVAILABLE or not tries_left:
                raise refused(answer)
            _pause(int(answer.headers.get("retry-after", "1")))
    raise AssertionError("unreachable")


def follow(api: Api, path: str) -> Iterator[Told]:
    """The events of a stream to its end; a stream that breaks off is taken up again after the last one."""
    last, breaks = "0", 0
    while True:
        connection, target = _connect(api)
        headers = {"Authorization": f"Bearer {api.key}", "Last-Event-ID": last}
        try:
            connection.request("GET", target + path, headers=headers)
            response = connection.getresponse()
            if response.status != http.HTTPStatus.OK:
                raise refused(_answered(response))
            for event in _events(response):
                last, breaks = event.id, 0
                yield event
        except (OSError, http.client.HTTPException) as fault:
            breaks += 1
            if breaks == TRIES:
                raise ended(f"{api.url} is out of reach: {fault}", UNUSABLE) from None
            _pause(1)
        else:
            return
        finally:
            connection.close()


def segment(text: str) -> str:
    """A name as one part of a path."""
    return quote(text, safe="")


def refused(answer: Answer) -> typer.Exit:
    """The end of a command whose request was refused: the problem goes to standard error."""
    try:
        problem = answer.json
        faults = [
            f"  {fault['pointer']}: {fault['message']}" for fault in problem.get("errors", ())
        ]
        told = "\n".join([f"{problem['detail']} ({problem['code']})", *faults])
    except (ValueError, KeyError, TypeError, AttributeError):
        told = f"The API answered {answer.status}: {answer.body[:200]!r}"
    return ended(told, REFUSED)


def ended(message: str, status: int) -> typer.Exit:
    """The end of a command, with its reason on standard error."""
    sys.stderr.write(f"{message}\n")
    return typer.Exit(status)


def _local() -> tuple[str | None, str | None]:
    # Only here, since it loads all settings: a client elsewhere needs none of them.
    from app.bootstrap import settings  # noqa: PLC0415
    from app.cli import stack  # noqa: PLC0415

    try:
        state = stack.Options.of(settings.load()).state
    except ValueError as fault:  # a variable that is no setting, or doesn't fit
        raise ended(str(fault), UNUSABLE) from None
    running = stack.read_running(state)
    if running is None:
        return None, None
    kept: Path = state / "demo.key"
    return running["api_url"], kept.read_text().strip() if kept.exists() else None


def _connect(api: Api) -> tuple[http.client.HTTPConnection, str]:
    at = urlsplit(api.url)
    kind = http.client.HTTPSConnection if at.scheme == "https" else http.client.HTTPConnection
    return kind(at.hostname or "", at.port, timeout=TIMEOUT_SECONDS), at.path


def _send(
    api: Api, method: str, target: str, data: bytes | None, headers: Mapping[str, str]
) -> Answer:
    connection, before = _connect(api)
    try:
        connection.request(method, before + target, body=data, headers=dict(headers))
        return _answered(connection.getresponse())
    finally:
        connection.close()


def _answered(response: http.client.HTTPResponse) -> Answer:
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


def _events(response: http.client.HTTPResponse) -> Iterator[Told]:
    fields: dict[str, str] = {}
    for raw in response:
        line = raw.decode().rstrip("\r\n")
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
            continue
        if "data" in fields:
            yield Told(fields.get("id", "0"), fields.get("event", ""), json.loads(fields["data"]))
        fields = {}


def _pause(seconds: int) -> None:
    threading.Event().wait(min(seconds, LONGEST_PAUSE_SECONDS))

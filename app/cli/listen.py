"""`towpath webhooks listen`: a local receiver that verifies what arrives, as a customer's would.

The signature is checked by the reference library of Standard Webhooks, not by our own signing.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from aiohttp import web
from rich.console import Console
from rich.text import Text
from standardwebhooks import Webhook, WebhookVerificationError

from app.core import clock

HOST: Final = "127.0.0.1"
PORT: Final = 9000
BODY_BYTES: Final = 1 << 20

SecretSource = Callable[[], str | None]


@dataclass(frozen=True, slots=True)
class Received:
    """One request. `fault` says why it is not verified; then nothing in it may be believed."""

    at: str
    event_id: str | None
    verified: bool
    fault: str | None
    type: str | None
    body: Any

    def line(self) -> dict[str, Any]:
        """As JSON shows it."""
        return {
            "at": self.at,
            "id": self.event_id,
            "verified": self.verified,
            "fault": self.fault,
            "type": self.type,
            "body": self.body,
        }


@contextlib.asynccontextmanager
async def receiving(
    host: str, port: int, secret: SecretSource, on_event: Callable[[Received], None]
) -> AsyncIterator[int]:
    """A receiver for as long as the block runs. Gives its port (0 asks for a free one).

    `secret` is asked at each request, since it may come or change while we listen. What is verified
    is answered 204, what isn't 401.
    """

    async def receive(request: web.Request) -> web.Response:
        received = _check(await request.read(), dict(request.headers), secret())
        on_event(received)
        return web.Response(status=204 if received.verified else 401)

    app = web.Application(client_max_size=BODY_BYTES)
    app.router.add_post("/{path:.*}", receive)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def _check(body: bytes, headers: dict[str, str], secret: str | None) -> Received:
    lower = {name.lower(): value for name, value in headers.items()}
    fault = None
    if secret is None:
        fault = "no secret to verify with"
    else:
        try:
            Webhook(secret).verify(body, lower, json_parse=False)
        except WebhookVerificationError as refusal:
            fault = str(refusal)
        except ValueError:  # not base64, not UTF-8, no comma: the library lets these through
            fault = "malformed signature headers, body or secret"
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    kind = told.get("type") if isinstance(told, dict) else None
    event_id = lower.get("webhook-id")
    return Received(clock.wire(clock.now()), event_id, fault is None, fault, kind, told)


commands = typer.Typer(help="Webhooks: receive them on this machine.", no_args_is_help=True)


@commands.callback()
def webhooks() -> None:
    """Webhooks: receive them on this machine."""


@commands.command("listen")
def listen_command(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = PORT,
    secret: Annotated[
        str | None,
        typer.Option(envvar="TOWPATH_WEBHOOK_SECRET", help="The endpoint's secret, whsec_…"),
    ] = None,
    secret_file: Annotated[
        Path | None, typer.Option(help="A file that holds the secret; read at each request.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    append: Annotated[
        Path | None, typer.Option(help="Also append JSON lines to this file.")
    ] = None,
) -> None:
    """Receive webhooks on this machine, verify each, and print it. Ends with Ctrl-C."""
    if (secret is None) == (secret_file is None):
        raise typer.BadParameter("give the secret by --secret or by --secret-file")
    console = Console()

    def show(received: Received) -> None:
        line = json.dumps(received.line(), ensure_ascii=False)
        if append is not None:
            with append.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        if json_:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        else:
            console.print(_shown(received))

    def source() -> str | None:
        return secret if secret_file is None else _read(secret_file)

    async def run() -> None:
        async with receiving(HOST, port, source, show) as bound:
            Console(stderr=True).print(f"Listening on http://{HOST}:{bound}/ - Ctrl-C ends it.")
            await asyncio.Event().wait()

    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        return
    except OSError as failure:
        Console(stderr=True).print(f"Can't listen on {HOST}:{port}: {failure.strerror}")
        raise typer.Exit(1) from None


def _read(path: Path) -> str | None:
    """The secret in a file, or None while there is none yet."""
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def _shown(received: Received) -> Text:
    mark = ("verified", "green") if received.verified else (f"REFUSED: {received.fault}", "red")
    told = json.dumps(received.body, ensure_ascii=False) if received.verified else ""
    return Text.assemble(
        (received.at, "dim"), "  ", mark, "  ", (received.type or "?", "bold"), "  ",
        received.event_id or "no id", "  ", told,
    )  # fmt: skip

"""`towpath webhooks`: endpoints and what was sent to them; a receiver for this machine."""

from typing import Annotated, Final

import typer

from app.cli import client, listen, showing
from app.cli.showing import AsJson

app: Final = client.group("Webhooks: endpoints, deliveries, and a receiver for this machine.")
app.command("listen")(listen.listen_command)

_COLUMNS: Final = ("id", "url", "events", "status", "disabled_reason")
_DELIVERY_COLUMNS: Final = ("id", "event_type", "event", "status", "tries", "created_at", "reason")

Id = Annotated[str, typer.Argument(help="The endpoint's id, whe_….")]


@app.command("create")
def create(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="Where to send.")],
    event: Annotated[
        list[str] | None, typer.Option(help="An event; may be repeated. All if none.")
    ] = None,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    as_json: AsJson = False,
) -> None:
    """Register an endpoint. Its secret is shown this once."""
    body = {"url": url, "events": event or ["*"], "description": description}
    made = client.post(client.of(context), "/v1/webhook_endpoints", body).json
    showing.show(made, as_json)


@app.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List endpoints, newest first."""
    found = client.pages(client.of(context), "/v1/webhook_endpoints", 1_000)
    showing.show_all(found, as_json, _COLUMNS)


@app.command("delete")
def delete(context: typer.Context, endpoint: Id) -> None:
    """Delete an endpoint and its secrets."""
    client.call(client.of(context), "DELETE", _path(endpoint))


@app.command("enable")
def enable(context: typer.Context, endpoint: Id, as_json: AsJson = False) -> None:
    """Enable an endpoint again."""
    answer = client.call(client.of(context), "PATCH", _path(endpoint), data=b'{"enabled": true}')
    showing.show(answer.json, as_json)


@app.command("rotate")
def rotate(context: typer.Context, endpoint: Id, as_json: AsJson = False) -> None:
    """Make a new secret, shown this once; the one before it signs too for 24 hours."""
    answer = client.call(client.of(context), "POST", f"{_path(endpoint)}/rotate_secret")
    showing.show(answer.json, as_json)


@app.command("test")
def send_test(context: typer.Context, endpoint: Id, as_json: AsJson = False) -> None:
    """Send a test event."""
    answer = client.call(client.of(context), "POST", f"{_path(endpoint)}/test")
    showing.show(answer.json, as_json)


@app.command("deliveries")
def deliveries(
    context: typer.Context,
    endpoint: Id,
    status: Annotated[str | None, typer.Option(help="pending, delivered or failed.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List what was sent to an endpoint, newest first."""
    path = f"{_path(endpoint)}/deliveries"
    found = client.pages(client.of(context), path, limit, status=status)
    rows = found if as_json else [one | {"tries": len(one["tries"])} for one in found]
    showing.show_all(rows, as_json, _DELIVERY_COLUMNS)


@app.command("redeliver")
def redeliver(
    context: typer.Context,
    endpoint: Id,
    delivery: Annotated[str, typer.Argument(help="The delivery's id, dlv_….")],
    as_json: AsJson = False,
) -> None:
    """Send an event again, under its own id."""
    path = f"{_path(endpoint)}/deliveries/{client.segment(delivery)}/redeliver"
    showing.show(client.call(client.of(context), "POST", path).json, as_json)


def _path(endpoint: str) -> str:
    return f"/v1/webhook_endpoints/{client.segment(endpoint)}"

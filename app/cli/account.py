"""`towpath usage`, `budgets`, `keys`, `me`: what a tenant has used, may spend, and calls with."""

import sys
from typing import Annotated, Final

import typer

from app.cli import client, showing
from app.cli.client import Key, Url
from app.cli.showing import AsJson

keys: Final = client.group("API keys of the tenant.")

_KEY_COLUMNS: Final = ("id", "name", "prefix", "scopes", "created_at", "expires_at", "revoked_at")
_COUNTS: Final = ("calls", "input_tokens", "output_tokens", "cost", "unconfirmed")


def usage(
    group_by: Annotated[
        str, typer.Option(help="day, hour or month; workflow, model, provider, lane; with commas.")
    ] = "day",
    since: Annotated[str | None, typer.Option(help="A day or an RFC 3339 time.")] = None,
    until: Annotated[str | None, typer.Option(help="Up to and without.")] = None,
    time_zone: Annotated[str | None, typer.Option(help="Whose days are meant.")] = None,
    workflow: Annotated[str | None, typer.Option(help="Only of this workflow.")] = None,
    model: Annotated[str | None, typer.Option(help="Only of this model.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV, for a spreadsheet.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Report what the tenant has used and what it cost."""
    query = {
        "group_by": group_by, "since": since, "until": until, "time_zone": time_zone,
        "workflow": workflow, "model": model, "format": "csv" if as_csv else "json",
    }  # fmt: skip
    answer = client.call(client.find(url, api_key), "GET", "/v1/usage", query=query)
    if as_csv:
        sys.stdout.write(answer.body.decode())
    elif as_json:
        showing.write(answer.json)
    else:
        report = answer.json
        total = dict.fromkeys(report["group_by"], "") | report["total"]
        rows = [*report["data"], total | {next(iter(total)): "total"}]
        showing.show_all(rows, False, (*report["group_by"], *_COUNTS))


def budgets(as_json: AsJson = False, url: Url = None, api_key: Key = None) -> None:
    """Show what the tenant may spend, has spent and has set aside."""
    found = client.get(client.find(url, api_key), "/v1/budgets")["data"]
    showing.show_all(found, as_json, ("account", "limit", "spent", "held", "free", "blocked"))


def me(as_json: AsJson = False, url: Url = None, api_key: Key = None) -> None:
    """Say who calls: the tenant and its key."""
    found = client.get(client.find(url, api_key), "/v1/me")
    if as_json:
        showing.write(found)
        return
    tenant, key = found["tenant"], found["key"]
    showing.show(
        {"tenant": f"{tenant['slug']} ({tenant['id']})", "key": f"{key['name']} ({key['id']})",
         "scopes": key["scopes"]},
        as_json,
    )  # fmt: skip


@keys.command("create")
def create_key(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[list[str], typer.Option(help="What it may do; may be repeated.")],
    expires_at: Annotated[str | None, typer.Option(help="RFC 3339.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key. It is shown this once."""
    body = {"name": name, "scopes": scope} | ({"expires_at": expires_at} if expires_at else {})
    showing.show(client.post(client.of(context), "/v1/keys", body).json, as_json)


@keys.command("list")
def list_keys(context: typer.Context, as_json: AsJson = False) -> None:
    """List keys, revoked ones too, newest first."""
    found = client.pages(client.of(context), "/v1/keys", 1_000)
    showing.show_all(found, as_json, _KEY_COLUMNS)


@keys.command("revoke")
def revoke_key(
    context: typer.Context, key: Annotated[str, typer.Argument(help="The key's id, key_….")]
) -> None:
    """Revoke a key; it works no longer within a second."""
    client.call(client.of(context), "DELETE", f"/v1/keys/{client.segment(key)}")

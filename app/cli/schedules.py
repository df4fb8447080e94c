"""`towpath schedules`: jobs that the clock admits."""

import json
from typing import Annotated, Any, Final

import typer

from app.cli import client, showing
from app.cli.jobs import read_input
from app.cli.showing import AsJson

app: Final = client.group("Schedules: jobs that the clock admits.")

_COLUMNS: Final = ("id", "name", "cron", "time_zone", "status", "next_run_at")
_RUN_COLUMNS: Final = ("id", "due_at", "status", "missed", "job", "code", "detail")

Id = Annotated[str, typer.Argument(help="The schedule's id, sch_….")]
Zone = Annotated[str | None, typer.Option("--zone", help="An IANA time zone; UTC if none.")]
Missed = Annotated[str | None, typer.Option(help="skip, run_once or run_all.")]
Overlap = Annotated[str | None, typer.Option(help="skip, queue or cancel_running.")]
Jitter = Annotated[int | None, typer.Option(min=0, help="Seconds that a time may be later.")]
Count = Annotated[int, typer.Option(min=1, max=100, help="How many times.")]


@app.command("create")
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Its name.")],
    cron: Annotated[str, typer.Argument(help="Five fields, as one word: '30 2 * * *'.")],
    workflow: Annotated[str, typer.Argument(help="`name`, or `name@3` for that version.")],
    given: Annotated[
        str | None,
        typer.Option("--input", "-i", help="JSON; @FILE reads a file, - standard input."),
    ] = None,
    zone: Zone = None,
    missed: Missed = None,
    overlap: Overlap = None,
    jitter: Jitter = None,
    lane: Annotated[str | None, typer.Option(help="interactive, standard or batch.")] = None,
    priority: Annotated[int | None, typer.Option(min=0, max=9, help="Higher first.")] = None,
    max_cost: Annotated[str | None, typer.Option(help="The most a run may spend, in USD.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag; may be repeated.")] = None,
    key: Annotated[str | None, typer.Option("--key", "-k", help="Idempotency key.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a schedule."""
    job = {
        "workflow": workflow, "input": read_input(given), "lane": lane, "priority": priority,
        "max_cost": max_cost, "tags": tag,
    }  # fmt: skip
    body = {
        "name": name, "cron": cron, "time_zone": zone, "missed_runs": missed, "overlap": overlap,
        "jitter_seconds": jitter, "job": _given(job),
    }  # fmt: skip
    made = client.post(client.of(context), "/v1/schedules", _given(body), intent=key).json
    showing.show(made, as_json)


@app.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List schedules, newest first."""
    found = client.pages(client.of(context), "/v1/schedules", 1_000)
    showing.show_all(found, as_json, _COLUMNS)


@app.command("get")
def get(context: typer.Context, schedule: Id, as_json: AsJson = False) -> None:
    """Show one schedule."""
    showing.show(client.get(client.of(context), _path(schedule)), as_json)


@app.command("change")
def change(
    context: typer.Context,
    schedule: Id,
    name: Annotated[str | None, typer.Option(help="A new name.")] = None,
    cron: Annotated[str | None, typer.Option(help="A new expression.")] = None,
    zone: Zone = None,
    missed: Missed = None,
    overlap: Overlap = None,
    jitter: Jitter = None,
    as_json: AsJson = False,
) -> None:
    """Change a schedule; its next time is found anew."""
    body = {
        "name": name, "cron": cron, "time_zone": zone, "missed_runs": missed, "overlap": overlap,
        "jitter_seconds": jitter,
    }  # fmt: skip
    _patch(context, schedule, _given(body), as_json)


@app.command("pause")
def pause(context: typer.Context, schedule: Id, as_json: AsJson = False) -> None:
    """Let it fire no more, until it is resumed."""
    _patch(context, schedule, {"paused": True}, as_json)


@app.command("resume")
def resume(context: typer.Context, schedule: Id, as_json: AsJson = False) -> None:
    """Let it fire again, from now on."""
    _patch(context, schedule, {"paused": False}, as_json)


@app.command("delete")
def delete(context: typer.Context, schedule: Id) -> None:
    """Delete a schedule; its jobs stay."""
    client.call(client.of(context), "DELETE", _path(schedule))


@app.command("run")
def run(
    context: typer.Context,
    schedule: Id,
    key: Annotated[str | None, typer.Option("--key", "-k", help="Idempotency key.")] = None,
    as_json: AsJson = False,
) -> None:
    """Admit its job now."""
    made = client.post(client.of(context), f"{_path(schedule)}/run", intent=key).json
    showing.show(made, as_json)


@app.command("runs")
def runs(
    context: typer.Context,
    schedule: Id,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List what it did, newest first."""
    found = client.pages(client.of(context), f"{_path(schedule)}/runs", limit)
    showing.show_all(found, as_json, _RUN_COLUMNS)


@app.command("next")
def next_(context: typer.Context, schedule: Id, count: Count = 10, as_json: AsJson = False) -> None:
    """Show when it fires next."""
    showing.show(client.get(client.of(context), f"{_path(schedule)}/next", limit=count), as_json)


@app.command("preview")
def preview(
    context: typer.Context,
    cron: Annotated[str, typer.Argument(help="Five fields, as one word: '30 2 * * *'.")],
    zone: Zone = None,
    count: Count = 10,
    as_json: AsJson = False,
) -> None:
    """Show when an expression would fire."""
    asked = {"cron": cron, "time_zone": zone, "limit": count}
    showing.show(client.get(client.of(context), "/v1/schedules/preview", **asked), as_json)


def _patch(context: typer.Context, schedule: str, body: dict[str, Any], as_json: bool) -> None:
    data = json.dumps(body).encode()
    changed = client.call(client.of(context), "PATCH", _path(schedule), data=data).json
    showing.show(changed, as_json)


def _path(schedule: str) -> str:
    return f"/v1/schedules/{client.segment(schedule)}"


def _given(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}

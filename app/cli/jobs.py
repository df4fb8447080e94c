"""`towpath jobs`: submit, get, list, watch, move, why; cancel and retry one or many; steps and receipt."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from app.cli import client, showing
from app.cli.client import Api
from app.cli.showing import AsJson

app: Final = client.group("Jobs: submit them, see how they are, wait for them.")

TERMINAL: Final = ("succeeded", "failed", "cancelled", "expired")
WAIT_SECONDS: Final = 30  # the longest that one request may wait
_COLUMNS: Final = ("id", "workflow", "status", "lane", "attempts", "created_at", "cost")
_STEP_COLUMNS: Final = ("name", "item", "kind", "state", "seconds", "model", "cost", "cache")
_CALL_COLUMNS: Final = ("step", "provider", "model", "state", "held", "cost", "unconfirmed")

Id = Annotated[str, typer.Argument(help="The job's id, job_….")]
Key = Annotated[
    str | None, typer.Option("--key", "-k", help="Idempotency key: your name for this intent.")
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for its end; status 3 unless succeeded.")]


@app.command("submit")
def submit(
    context: typer.Context,
    workflow: Annotated[str, typer.Argument(help="`name`, or `name@3` for that version.")],
    given: Annotated[
        str | None,
        typer.Option("--input", "-i", help="JSON; @FILE reads a file, - standard input."),
    ] = None,
    pair: Annotated[
        list[str] | None, typer.Option("--set", "-s", help="A text of the input: name=value.")
    ] = None,
    lane: Annotated[str | None, typer.Option(help="interactive, standard or batch.")] = None,
    priority: Annotated[int | None, typer.Option(min=0, max=9, help="Higher first.")] = None,
    run_at: Annotated[str | None, typer.Option(help="Not before, RFC 3339.")] = None,
    deadline_at: Annotated[str | None, typer.Option(help="Finished by then, RFC 3339.")] = None,
    max_cost: Annotated[str | None, typer.Option(help="The most it may spend, in USD.")] = None,
    max_attempts: Annotated[int | None, typer.Option(min=1, help="Tries.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag; may be repeated.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", help="name=value; may be repeated.")
    ] = None,
    end_user: Annotated[str | None, typer.Option(help="For whom it is done.")] = None,
    session: Annotated[str | None, typer.Option(help="What it belongs to.")] = None,
    callback_url: Annotated[
        str | None, typer.Option(help="The URL of one of your webhook endpoints, told of this job.")
    ] = None,
    key: Key = None,
    unique_key: Annotated[
        str | None,
        typer.Option(help="Of the jobs of this name one at a time: another gives the first."),
    ] = None,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Submit a job. Submitted twice under one --key, it is the same job."""
    api = client.of(context)
    body = {
        "workflow": workflow, "input": read_input(given) | _pairs(pair), "lane": lane,
        "priority": priority, "run_at": run_at, "deadline_at": deadline_at, "max_cost": max_cost,
        "max_attempts": max_attempts, "tags": tag, "metadata": _pairs(metadata) or None,
        "end_user": end_user, "session": session, "callback_url": callback_url,
        "unique_key": unique_key,
    }  # fmt: skip
    sent = {name: value for name, value in body.items() if value is not None}
    job = client.post(api, "/v1/jobs", sent, intent=key).json
    if wait:
        job = _waited(api, job, quiet=as_json)
    _show(job, as_json)
    _judge(job, wait)


@app.command("get")
def get(context: typer.Context, job: Id, wait: Wait = False, as_json: AsJson = False) -> None:
    """Show one job."""
    api = client.of(context)
    found = client.get(api, f"/v1/jobs/{client.segment(job)}")
    if wait:
        found = _waited(api, found, quiet=as_json)
    _show(found, as_json)
    _judge(found, wait)


@app.command("list")
def list_(
    context: typer.Context,
    status: Annotated[str | None, typer.Option(help="Only in this state.")] = None,
    workflow: Annotated[str | None, typer.Option(help="Only of this workflow.")] = None,
    lane: Annotated[str | None, typer.Option(help="Only of this lane.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only with this tag.")] = None,
    created_after: Annotated[str | None, typer.Option(help="RFC 3339.")] = None,
    created_before: Annotated[str | None, typer.Option(help="RFC 3339.")] = None,
    error_code: Annotated[str | None, typer.Option(help="Only with this error.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    found = client.pages(
        client.of(context), "/v1/jobs", limit, status=status, workflow=workflow, lane=lane, tag=tag,
        created_after=created_after, created_before=created_before, error_code=error_code,
    )  # fmt: skip
    rows = found if as_json else [job | {"cost": job["usage"]["cost"]} for job in found]
    showing.show_all(rows, as_json, _COLUMNS)


@app.command("watch")
def watch(context: typer.Context, job: Id, as_json: AsJson = False) -> None:
    """Show a job's events as they happen, to its end. Status 3 unless it has succeeded."""
    api = client.of(context)
    path = f"/v1/jobs/{client.segment(job)}"
    for event in client.follow(api, f"{path}/events"):
        if as_json:
            showing.write(event.data)
            sys.stdout.flush()
        else:
            facts = " ".join(
                f"{name}={showing.text(held)}" for name, held in event.data["data"].items()
            )
            Console().print(f"{event.data['at']}  {event.type:<20} {facts}", markup=False)
    found = client.get(api, path)
    if not as_json:
        _show(found, as_json)
    _judge(found, True)


@app.command("cancel")
def cancel(
    context: typer.Context,
    job: Annotated[str | None, typer.Argument(help="The job's id; none: by filter.")] = None,
    status: Annotated[str | None, typer.Option(help="All in this state.")] = None,
    workflow: Annotated[str | None, typer.Option(help="All of this workflow.")] = None,
    lane: Annotated[str | None, typer.Option(help="All of this lane.")] = None,
    tag: Annotated[str | None, typer.Option(help="All with this tag.")] = None,
    created_after: Annotated[str | None, typer.Option(help="RFC 3339.")] = None,
    created_before: Annotated[str | None, typer.Option(help="RFC 3339.")] = None,
    key: Key = None,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Cancel a job, or all that fit a filter: a job of its own then does it. A running one ends within seconds."""
    narrow = _filter(
        job, status=status, workflow=workflow, lane=lane, tag=tag,
        created_after=created_after, created_before=created_before,
    )  # fmt: skip
    api = client.of(context)
    if job is None:
        _sweep(api, "/v1/jobs/cancel", narrow, key, wait, as_json)
        return
    found = client.post(api, f"/v1/jobs/{client.segment(job)}/cancel", intent=key).json
    _show(_waited(api, found, quiet=as_json) if wait else found, as_json)


@app.command("retry")
def retry(
    context: typer.Context,
    job: Annotated[str | None, typer.Argument(help="The job's id; none: by filter.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All that failed.")] = False,
    expired: Annotated[bool, typer.Option("--expired", help="All that expired.")] = False,
    error_code: Annotated[str | None, typer.Option(help="All with this error.")] = None,
    workflow: Annotated[str | None, typer.Option(help="All of this workflow.")] = None,
    lane: Annotated[str | None, typer.Option(help="All of this lane.")] = None,
    tag: Annotated[str | None, typer.Option(help="All with this tag.")] = None,
    created_after: Annotated[str | None, typer.Option(help="RFC 3339.")] = None,
    created_before: Annotated[str | None, typer.Option(help="RFC 3339.")] = None,
    key: Key = None,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Run a failed or expired job again, from its last checkpoint, or all that fit a filter."""
    if failed and expired:
        raise typer.BadParameter("--failed and --expired are two states; leave both out for either")
    status = "failed" if failed else "expired" if expired else None
    narrow = _filter(
        job, status=status, error_code=error_code, workflow=workflow, lane=lane, tag=tag,
        created_after=created_after, created_before=created_before,
    )  # fmt: skip
    api = client.of(context)
    if job is None:
        _sweep(api, "/v1/jobs/retry", narrow, key, wait, as_json)
        return
    found = client.post(api, f"/v1/jobs/{client.segment(job)}/retry", intent=key).json
    if wait:
        found = _waited(api, found, quiet=as_json)
    _show(found, as_json)
    _judge(found, wait)


def _filter(job: str | None, **parts: str | None) -> dict[str, str]:
    given = {name: value for name, value in parts.items() if value is not None}
    if (job is None) != bool(given):
        raise typer.BadParameter("give a job's id, or what all of them have in common")
    return given


def _sweep(
    api: Api, path: str, narrow: dict[str, str], key: str | None, wait: bool, as_json: bool
) -> None:
    found = client.post(api, path, narrow, intent=key).json
    if wait:
        found = _waited(api, found, quiet=as_json)
    _show(found, as_json)
    _judge(found, wait)


@app.command("steps")
def steps(context: typer.Context, job: Id, as_json: AsJson = False) -> None:
    """List the steps of a job and every try of each."""
    found = client.get(client.of(context), f"/v1/jobs/{client.segment(job)}/steps")["data"]
    rows = found if as_json else [step | {"cost": step["usage"]["cost"]} for step in found]
    showing.show_all(rows, as_json, _STEP_COLUMNS)


@app.command("move")
def move(
    context: typer.Context,
    job: Id,
    lane: Annotated[str | None, typer.Option(help="interactive, standard or batch.")] = None,
    priority: Annotated[int | None, typer.Option(min=0, max=9, help="Higher first.")] = None,
    as_json: AsJson = False,
) -> None:
    """Move a job that waits to another lane, or to another priority."""
    given = {"lane": lane, "priority": priority}
    body = {name: value for name, value in given.items() if value is not None}
    moved = client.post(client.of(context), f"/v1/jobs/{client.segment(job)}/move", body).json
    _show(moved, as_json)


@app.command("why")
def why(context: typer.Context, job: Id, as_json: AsJson = False) -> None:
    """Say why a job is not running: the first reason is what holds it up now."""
    found = client.get(client.of(context), f"/v1/jobs/{client.segment(job)}/why")
    if as_json:
        showing.write(found)
        return
    showing.show_all(found["reasons"], as_json, ("code", "detail"))


@app.command("receipt")
def receipt(context: typer.Context, job: Id, as_json: AsJson = False) -> None:
    """Show what a job was charged: every call, and the sum."""
    found = client.get(client.of(context), f"/v1/jobs/{client.segment(job)}/receipt")
    if as_json:
        showing.write(found)
        return
    showing.show_all(found["calls"], as_json, _CALL_COLUMNS)
    showing.show(found["usage"] | {"held": found["held"]}, as_json)


def read_input(given: str | None) -> dict[str, Any]:
    """A job's input from the command line: JSON, `@FILE`, or `-`. Ends the command where it is none."""
    if given is None:
        return {}
    try:
        text = sys.stdin.read() if given == "-" else given
        if given.startswith("@"):
            text = Path(given[1:]).read_text(encoding="utf-8")
        found = json.loads(text)
    except (OSError, ValueError) as fault:
        raise typer.BadParameter(f"--input can't be read: {fault}") from None
    if not isinstance(found, dict):
        raise typer.BadParameter("--input is not a JSON object")
    return found


def _pairs(given: list[str] | None) -> dict[str, Any]:
    found = {}
    for one in given or ():
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{one} is not name=value")
        found[name] = value
    return found


def _waited(api: Api, job: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """The job once it is over; how far it is, is shown meanwhile."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=quiet) as progress:
        line = progress.add_task(job["status"], total=None)
        while job["status"] not in TERMINAL:
            # In short turns, so that the bar moves.
            job = client.get(api, f"/v1/jobs/{job['id']}", wait=WAIT_SECONDS if quiet else 2)
            done = job["progress"] or {"done": None, "total": None, "label": ""}
            told = f"{job['status']} {done['label'] or ''}"
            progress.update(line, description=told, completed=done["done"], total=done["total"])
    return job


def _show(job: dict[str, Any], as_json: bool) -> None:
    if as_json:
        showing.write(job)
        return
    kept = (
        "id",
        "workflow",
        "workflow_version",
        "status",
        "waiting_for",
        "lane",
        "attempts",
        "run",
    )
    facts = {name: job[name] for name in kept}
    facts |= {"cost": job["usage"]["cost"], "model_calls": job["usage"]["model_calls"]}
    facts |= {name: job[name] for name in ("created_at", "finished_at", "output", "error")}
    showing.show({name: held for name, held in facts.items() if held is not None}, as_json)


def _judge(job: dict[str, Any], waited: bool) -> None:
    if waited and job["status"] != "succeeded":
        raise typer.Exit(client.UNHAPPY)

"""`towpath workflows`: list, get, validate, push."""

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import yaml

from app.cli import client, showing
from app.cli.showing import AsJson

app: Final = client.group("Workflows: definitions as data, in immutable versions.")

File = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, help="A definition, YAML or JSON.")
]
Name = Annotated[str, typer.Argument(help="The workflow's name.")]


@app.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List workflows by name, with the version that each name runs."""
    found = client.get(client.of(context), "/v1/workflows")["data"]
    showing.show_all(found, as_json, ("name", "released", "created_at"))


@app.command("get")
def get(
    context: typer.Context,
    name: Name,
    version: Annotated[int | None, typer.Option(min=1, help="Not the released one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a version with its definition."""
    path = f"/v1/workflows/{client.segment(name)}"
    found = client.get(
        client.of(context), path if version is None else f"{path}/versions/{version}"
    )
    if as_json:
        showing.write(found)
    else:
        typer.echo(
            yaml.safe_dump(found["definition"], sort_keys=False, allow_unicode=True), nl=False
        )


@app.command("validate")
def validate(file: File, as_json: AsJson = False) -> None:
    """Check a definition here, without an API. Status 1 where it has faults; each has a pointer."""
    # Only here, since it loads the language of workflows.
    from app.bootstrap import platform  # noqa: PLC0415
    from app.core.errors import Invalid  # noqa: PLC0415
    from app.retrieval import embedding  # noqa: PLC0415
    from app.tools.config import ToolsConfig  # noqa: PLC0415
    from app.workflows import definitions  # noqa: PLC0415

    try:
        definition = definitions.parse(
            _read(file), platform.tools(ToolsConfig(), None, embedding.open_embedder())
        )
    except Invalid as refusal:
        faults = refusal.context["errors"]
        if as_json:
            showing.write({"valid": False, "errors": faults})
        told = "\n".join(f"{fault['pointer'] or '/'}: {fault['message']}" for fault in faults)
        raise client.ended(told or refusal.message, client.REFUSED) from None
    facts = {"valid": True, "name": definition.name, "steps": len(definition.steps)}
    showing.show(facts, as_json)


@app.command("push")
def push(
    context: typer.Context,
    file: File,
    name: Annotated[str | None, typer.Option(help="Not the name in the file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Push a definition as the next version, and release it. The released one again changes nothing."""
    raw = _read(file)
    if not isinstance(raw, dict):
        raise client.ended(f"{file} is not a definition.", client.UNUSABLE)
    chosen = name or raw.get("name")
    if not isinstance(chosen, str):
        raise client.ended(f"{file} names no workflow: give --name.", client.UNUSABLE)
    path = f"/v1/workflows/{client.segment(chosen)}/versions"
    answer = client.post(client.of(context), path, raw | {"name": chosen})
    pushed = answer.json
    facts = {name: pushed[name] for name in ("id", "workflow", "number", "released", "created_at")}
    showing.show(facts | {"new": answer.status == 201}, as_json)


def _read(file: Path) -> Any:
    text = file.read_text(encoding="utf-8")
    try:
        return json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as fault:
        raise client.ended(f"{file} can't be read: {fault}", client.UNUSABLE) from None

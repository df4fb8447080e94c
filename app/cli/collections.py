"""`towpath collections`: corpora, filled from folders and searched."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app.cli import client, showing
from app.cli.client import Api
from app.cli.showing import AsJson

app: Final = client.group("Collections: named corpora to answer from.")

MEDIA_TYPES: Final = {
    ".md": "text/markdown", ".markdown": "text/markdown", ".txt": "text/plain", ".html": "text/html",
    ".htm": "text/html",
}  # fmt: skip
_DOCUMENT_COLUMNS: Final = ("id", "name", "title", "status", "revision", "chunks", "tokens")

Name = Annotated[str, typer.Argument(help="The collection's name.")]
Limit = Annotated[int, typer.Option(min=1, help="How many at most.")]


@app.command("create")
def create(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Make a collection."""
    showing.show(client.post(client.of(context), "/v1/collections", {"name": name}).json, as_json)


@app.command("list")
def list_(context: typer.Context, limit: Limit = 100, as_json: AsJson = False) -> None:
    """List collections, newest first."""
    found = client.pages(client.of(context), "/v1/collections", limit)
    showing.show_all(found, as_json, ("name", "documents", "version", "created_at"))


@app.command("documents")
def documents(
    context: typer.Context, name: Name, limit: Limit = 100, as_json: AsJson = False
) -> None:
    """List the documents of a collection, newest first."""
    found = client.pages(client.of(context), f"{_path(name)}/documents", limit)
    showing.show_all(found, as_json, _DOCUMENT_COLUMNS)


@app.command("ingest")
def ingest(
    context: typer.Context,
    name: Name,
    sources: Annotated[
        list[Path], typer.Argument(exists=True, help="Files, or folders with all that is in them.")
    ],
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Don't wait until they are ready.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Upload Markdown, text and HTML, and wait until all of it can be searched.

    A file that was uploaded unchanged is not ingested again. Status 3 where a document failed.
    """
    api, files = client.of(context), list(_files(sources))
    if not files:
        raise client.ended("There is no Markdown, text or HTML file.", client.UNUSABLE)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=as_json) as progress:
        uploaded = [
            _upload(api, name, path, document)
            for path, document in progress.track(files, description="uploaded")
        ]
        if not no_wait:
            uploaded = [
                _followed(api, name, document)
                for document in progress.track(uploaded, description="ingested")
            ]
    failed = [document for document in uploaded if document["status"] == "failed"]
    showing.show(
        {
            "collection": name,
            "documents": len(uploaded),
            "failed": [f"{one['name']}: {one['error']['message']}" for one in failed],
            "chunks": sum(document["chunks"] for document in uploaded),
            "tokens": sum(document["tokens"] for document in uploaded),
        },
        as_json,
    )
    if failed:
        raise typer.Exit(client.UNHAPPY)


@app.command("search")
def search(
    context: typer.Context,
    name: Name,
    query: Annotated[str, typer.Argument(help="What to look for.")],
    k: Annotated[int, typer.Option("-k", min=1, max=50, help="How many passages at most.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Find the passages nearest to a question."""
    api = client.of(context)
    body = {"query": query, "k": k}
    found = client.call(api, "POST", f"{_path(name)}/search", data=json.dumps(body).encode()).json
    if as_json:
        showing.write(found)
        return
    console = Console()
    for passage in found["data"]:
        head = f"{passage['name']} › {passage['section']}  ({passage['score']:.4f})"
        console.print(head, style="bold", markup=False)
        console.print(passage["text"], markup=False)
        console.print()


@app.command("delete")
def delete(context: typer.Context, name: Name) -> None:
    """Delete a collection with its documents."""
    client.call(client.of(context), "DELETE", _path(name))


def _path(name: str) -> str:
    return f"/v1/collections/{client.segment(name)}"


def _files(sources: list[Path]) -> Iterator[tuple[Path, str]]:
    """What can be ingested, each with the name that it gets: its path below the folder named."""
    for source in sources:
        if source.is_file():
            yield source, source.name
            continue
        for path in sorted(source.rglob("*")):
            if path.is_file() and path.suffix.lower() in MEDIA_TYPES:
                yield path, path.relative_to(source).as_posix()


def _upload(api: Api, collection: str, path: Path, document: str) -> dict[str, Any]:
    data = path.read_bytes()
    media_type = MEDIA_TYPES.get(path.suffix.lower(), "text/plain")
    # The key carries the content: a changed file is a new intent, the same one is the same.
    named = hashlib.sha256(f"{collection}\0{document}\0".encode() + data).hexdigest()
    target = f"{_path(collection)}/documents?{urlencode({'name': document})}"
    answer = client.call(
        api, "POST", target, data=data, content_type=media_type, intent=f"ingest-{named}"
    )
    uploaded: dict[str, Any] = answer.json
    return uploaded


def _followed(api: Api, collection: str, document: dict[str, Any]) -> dict[str, Any]:
    """The document once its job is over."""
    if document["job"] is not None:
        while True:
            job = client.get(api, f"/v1/jobs/{document['job']}", wait=30)
            if job["finished_at"] is not None:
                break
    found: dict[str, Any] = client.get(api, f"{_path(collection)}/documents/{document['id']}")
    return found

"""Keys, collections, workflows and webhook endpoints over HTTP."""

import psycopg

from app.bootstrap.settings import Settings
from app.core import ids
from app.core.db import Database
from app.core.ids import DocumentId, TenantId
from app.files import store
from app.retrieval import embedding, ingestion
from tests.api.client import NOOP, Client


async def test_a_key_is_shown_once_and_revoked_for_good(api: Client, url: str) -> None:
    body = {"name": "bot", "scopes": ["jobs:read"], "expires_at": "2036-01-01T00:00:00Z"}
    made = await api.post("/v1/keys", body, Idempotency_Key="bot")
    assert made.status == 201
    key = made.json
    assert key["secret"].startswith(key["prefix"])
    again = await api.post("/v1/keys", body, Idempotency_Key="bot")
    assert (again.status, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert again.json == key | {"secret": None}
    other = await api.post("/v1/keys", body | {"name": "x"}, Idempotency_Key="bot")
    assert (other.status, other.json["code"]) == (422, "idempotency_key_reused")
    listed = (await api.get("/v1/keys?limit=1")).json
    assert listed["data"] == [again.json]
    assert listed["next_cursor"] is not None
    async with Client(url, key["secret"]) as bot:
        me = (await bot.get("/v1/me")).json
        assert (me["tenant"]["slug"], me["key"]["id"]) == ("acme", key["id"])
        assert me["key"]["scopes"] == ["jobs:read"]
        assert (await api.delete(f"/v1/keys/{key['id']}")).status == 204
        assert (await api.delete(f"/v1/keys/{key['id']}")).status == 204
    assert (await api.get(f"/v1/keys/{key['id']}")).json["revoked_at"] is not None
    async with Client(url, key["secret"]) as bot:
        # Another process would believe it for a second more; this one has not seen it yet.
        assert (await api.get("/v1/me")).status == 200


async def test_a_document_goes_in_and_is_found(
    api: Client, ingesting: None, db: Database, settings: Settings, tenant: TenantId
) -> None:
    made = await api.post("/v1/collections", {"name": "handbook"})
    assert (made.status, made.json["documents"]) == (201, 0)
    taken = await api.post("/v1/collections", {"name": "handbook"})
    assert (taken.status, taken.json["code"]) == (409, "collection_exists")
    text = b"# Backups\n\n## Encryption\n\nBackups are encrypted with AES-256.\n"
    sent = {"Content-Type": "text/markdown", "Idempotency-Key": "doc-1"}
    path = "/v1/collections/handbook/documents"
    uploaded = await api.send("POST", f"{path}?name=backups.md", text, headers=sent)
    assert uploaded.status == 202
    document = uploaded.json
    assert (document["status"], document["name"]) == ("pending", "backups.md")
    job = (await api.get(f"/v1/jobs/{document['job']}")).json
    assert (job["workflow"], job["lane"], job["input"]) == (
        "towpath.ingest", "batch", {"document": document["id"]},
    )  # fmt: skip
    again = await api.send("POST", f"{path}?name=backups.md", text, headers=sent)
    assert (again.json["id"], again.json["job"]) == (document["id"], document["job"])
    assert again.headers["Idempotent-Replayed"] == "true"
    await ingest(db, settings, tenant, document["id"])
    ready = (await api.get(f"{path}/{document['id']}")).json
    assert (ready["status"], ready["served_revision"], ready["chunks"] > 0) == ("ready", 1, True)
    found = await api.post(
        "/v1/collections/handbook/search", {"query": "How are backups encrypted?", "k": 3}
    )
    assert found.json["data"][0]["document"] == document["id"]
    assert "AES-256" in found.json["data"][0]["text"]
    assert [one["id"] for one in (await api.get(path)).json["data"]] == [document["id"]]
    await api.post("/v1/collections", {"name": "empty"})
    elsewhere = await api.get(f"/v1/collections/empty/documents/{document['id']}")
    assert elsewhere.status == 404
    assert (await api.delete(f"{path}/{document['id']}")).status == 204
    assert (await api.get(f"{path}/{document['id']}")).status == 404
    gone = await api.post("/v1/collections/handbook/search", {"query": "backups"})
    assert gone.json["data"] == []
    assert (await api.delete("/v1/collections/handbook")).status == 204
    assert [one["name"] for one in (await api.get("/v1/collections")).json["data"]] == ["empty"]


async def ingest(db: Database, settings: Settings, tenant: TenantId, document: str) -> None:
    """What the worker does with the job."""
    shelf = store.open_store(settings.files_folder)
    wanted = DocumentId(ids.parse("doc", document) or ids.new())
    await ingestion.ingest(db, shelf, embedding.open_embedder(), tenant, wanted)


async def test_a_form_with_a_file_is_a_document_too(
    api: Client, ingesting: None, admin: psycopg.Connection
) -> None:
    await api.post("/v1/collections", {"name": "c"})

    def form(*parts: bytes) -> bytes:
        return b"".join(b"--xx\r\n" + part + b"\r\n" for part in parts) + b"--xx--\r\n"

    async def send(body: bytes, query: str = "") -> tuple[int, dict[str, object]]:
        headers = {"Content-Type": 'multipart/form-data; boundary="xx"'}
        reply = await api.send("POST", f"/v1/collections/c/documents{query}", body, headers=headers)
        return reply.status, reply.json

    def file(name: str, kind: str = "", content: bytes = b"# A\r\n\r\n--x\r\ntext") -> bytes:
        typed = f"Content-Type: {kind}\r\n" if kind else ""
        head = f'Content-Disposition: form-data; name="file"; filename="{name}"\r\n{typed}\r\n'
        return head.encode() + content

    title = b'Content-Disposition: form-data; name="title"\r\n\r\nEin Titel \xc3\xa4'
    status, document = await send(form(title, file("dir/a.md", "application/octet-stream")))
    assert (status, document["name"], document["media_type"]) == (202, "a.md", "text/markdown")
    assert document["title"] == "Ein Titel ä"
    size = admin.execute("SELECT size_bytes FROM file").fetchone()
    assert size == (len(b"# A\r\n\r\n--x\r\ntext"),)
    assert (await send(form(file("b.bin", "text/html")), "?name=b.html"))[0] == 202
    assert (await send(form(file("c.pdf", "application/pdf"))))[1][
        "code"
    ] == "unsupported_media_type"
    assert (await send(form(title)))[1]["code"] == "validation_failed"
    odd = b'Content-Disposition: form-data; name="title"\r\n\r\na\x00b'
    assert (await send(form(odd, file("d.md"))))[1]["errors"] == [
        {"pointer": "/title", "message": "at most 255 printable characters"}
    ]
    for broken in (
        b"",
        b"--xx\r\n",
        form(file("a.md"))[:-8],
        form(*[title] * 20),
        b"--xx\r\nno head\r\n--xx--",
    ):
        assert (await send(broken))[1]["code"] == "bad_request", broken


async def test_a_document_has_a_limit_of_its_own(api: Client, ingesting: None) -> None:
    await api.post("/v1/collections", {"name": "c"})
    sent = {"Content-Type": "text/plain"}
    path = "/v1/collections/c/documents?name=a.txt"
    larger_than_json = await api.send("POST", path, b"a word " * 300_000, headers=sent)
    assert larger_than_json.status == 202
    beyond = await api.send("POST", path, b"x" * (20 * 1024 * 1024 + 1), headers=sent)
    assert (beyond.status, beyond.json["code"]) == (413, "payload_too_large")


async def test_a_workflow_is_pushed_as_the_next_version(api: Client) -> None:
    path = "/v1/workflows/shout/versions"
    definition = {name: value for name, value in NOOP.items() if name != "name"}
    first = await api.post(path, definition, Idempotency_Key="v1")
    assert (first.status, first.json["number"], first.json["released"]) == (201, 1, True)
    assert first.headers["Location"] == f"{path}/1"
    second = await api.post(path, definition | {"description": "Louder."})
    assert (second.status, second.json["number"]) == (201, 2)
    same = await api.post(path, definition | {"description": "Louder."})
    assert (same.status, same.json["id"]) == (200, second.json["id"])
    again = await api.post(path, definition, Idempotency_Key="v1")
    assert (again.status, again.json["number"], again.json["released"]) == (201, 1, False)
    assert again.headers["Idempotent-Replayed"] == "true"
    released = (await api.get("/v1/workflows/shout")).json
    assert (released["number"], released["definition"]["description"]) == (2, "Louder.")
    listed = (await api.get(path)).json["data"]
    assert [(one["number"], one["definition"]) for one in listed] == [(2, None), (1, None)]
    assert (await api.get(f"{path}/1")).json["definition"] == {"name": "shout"} | definition
    assert {one["name"] for one in (await api.get("/v1/workflows")).json["data"]} == {
        "noop",
        "shout",
    }
    pinned = await api.job(workflow="shout@1")
    newest = await api.job(workflow="shout")
    assert (pinned["workflow_version"], newest["workflow_version"]) == (1, 2)


async def test_each_fault_of_a_definition_is_pointed_at(api: Client) -> None:
    step = {"id": "a", "kind": "transform", "value": "=steps.nowhere"}
    faulty = {"input": {"type": 7}, "steps": [step, step], "output": "=steps.a", "colour": "red"}
    reply = await api.post("/v1/workflows/faulty/versions", faulty)
    assert reply.json["errors"][0]["pointer"] == "/colour"
    del faulty["colour"]
    reply = await api.post("/v1/workflows/faulty/versions", faulty)
    pointers = {fault["pointer"] for fault in reply.json["errors"]}
    assert {"/input", "/steps/1/id", "/steps/0/value"} <= pointers


async def test_an_endpoint_is_made_changed_rotated_and_deleted(api: Client) -> None:
    body = {"url": "https://1.1.1.1/hook", "events": ["job.failed", "job.succeeded"]}
    made = await api.post("/v1/webhook_endpoints", body, Idempotency_Key="hook")
    assert made.status == 201
    endpoint, path = made.json, f"/v1/webhook_endpoints/{made.json['id']}"
    assert endpoint["secret"].startswith("whsec_")
    assert sorted(endpoint["events"]) == sorted(body["events"])
    again = await api.post("/v1/webhook_endpoints", body, Idempotency_Key="hook")
    assert again.json == endpoint | {"secret": None}
    assert (await api.get(path)).json == again.json
    rotated = (await api.post(f"{path}/rotate_secret")).json
    assert rotated["secret"].startswith("whsec_")
    assert rotated["secret"] != endpoint["secret"]
    assert rotated["old_secret_until"] is not None
    sent = await api.post(f"{path}/test")
    assert (sent.status, sent.json["status"], sent.json["tries"]) == (202, "pending", [])
    log = (await api.get(f"{path}/deliveries")).json["data"]
    assert [one["id"] for one in log] == [sent.json["id"]]
    hastened = await api.post(f"{path}/deliveries/{sent.json['id']}/redeliver")
    assert (hastened.status, hastened.json["id"]) == (202, sent.json["id"])
    off = await api.send("PATCH", path, {"enabled": False, "events": ["*"]})
    assert (off.json["status"], off.json["events"]) == ("disabled", ["*"])
    refused = await api.post(f"{path}/test")
    assert (refused.status, refused.json["code"]) == (409, "endpoint_disabled")
    ended = (await api.get(f"{path}/deliveries/{sent.json['id']}")).json
    assert ended["status"] == "failed"
    assert (await api.delete(path)).status == 204
    assert (await api.get(path)).status == 404
    assert (await api.get("/v1/webhook_endpoints")).json["data"] == []

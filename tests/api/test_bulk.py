"""Many jobs by a filter through the API: what is admitted, what is refused."""

from typing import Any

import psycopg
import pytest

from app.core import ids
from tests.api.client import Client


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/jobs/cancel", {}),
        ("/v1/jobs/cancel", {"status": "succeeded"}),
        ("/v1/jobs/cancel", {"tag": "a", "error_code": "x"}),
        ("/v1/jobs/cancel", {"created_after": "yesterday"}),
        ("/v1/jobs/retry", {}),
        ("/v1/jobs/retry", {"status": "running"}),
        ("/v1/jobs/retry", {"tags": ["a"]}),
    ],
)
async def test_a_filter_that_says_nothing_or_nonsense_is_refused(
    path: str, body: dict[str, Any], api: Client, ingesting: None
) -> None:
    reply = await api.post(path, body)
    assert (reply.status, reply.json["code"]) == (422, "validation_failed")


@pytest.mark.parametrize(
    ("path", "workflow", "body"),
    [
        ("/v1/jobs/cancel", "towpath.cancel", {"tag": "nightly", "status": "queued"}),
        ("/v1/jobs/retry", "towpath.retry", {"status": "failed", "error_code": "worker_lost"}),
    ],
)
async def test_the_answer_is_a_job_once_a_key(
    path: str, workflow: str, body: dict[str, str], api: Client, ingesting: None
) -> None:
    first = await api.post(path, body, idempotency_key="clean-up")
    assert first.status == 202
    assert first.headers["Location"] == f"/v1/jobs/{first.json['id']}"
    assert (first.json["workflow"], first.json["input"]) == (workflow, {"filter": body})
    again = await api.post(path, body, idempotency_key="clean-up")
    assert (again.json["id"], again.headers["Idempotent-Replayed"]) == (first.json["id"], "true")
    other = await api.post(path, {"tag": "another"}, idempotency_key="clean-up")
    assert (other.status, other.json["code"]) == (422, "idempotency_key_reused")
    alone = await api.post(
        "/v1/jobs", {"workflow": "noop", "input": {}}, idempotency_key="clean-up"
    )
    assert alone.status == 202  # a key counts within its route


async def test_failed_jobs_are_listed_by_their_error(
    api: Client, admin: psycopg.Connection
) -> None:
    lost, other = await api.job(), await api.job()
    for job, code in ((lost, "worker_lost"), (other, "step_failed")):
        admin.execute(
            "UPDATE job SET state = 'failed', finished_at = now(), error = jsonb_build_object("
            "'code', %s::text, 'message', 'm', 'step', NULL, 'retryable', false) WHERE id = %s",
            (code, ids.parse("job", job["id"])),
        )
    listed = await api.get("/v1/jobs?status=failed&error_code=worker_lost")
    assert [one["id"] for one in listed.json["data"]] == [lost["id"]]

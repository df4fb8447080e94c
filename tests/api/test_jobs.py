"""Jobs over HTTP: admitted once an intent, seen, listed, cancelled, retried."""

from tests.api.client import Client


async def test_a_job_is_accepted_and_shown(api: Client) -> None:
    sent = {
        "workflow": "noop", "input": {"q": "a\\u0000b"}, "lane": "batch", "priority": 7,
        "max_cost": "0.05", "metadata": {"order": 7}, "tags": ["a", "b"], "end_user": "u-1",
        "session": "s-1", "deadline_at": "2036-01-01T00:00:00+01:00",
    }  # fmt: skip
    admitted = await api.post("/v1/jobs", sent)
    assert admitted.status == 202, admitted.body
    job = admitted.json
    assert admitted.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert (job["status"], job["max_cost"], job["deadline_at"]) == (
        "queued", "0.05", "2035-12-31T23:00:00.000000Z",
    )  # fmt: skip
    shown = await api.get(f"/v1/jobs/{job['id']}")
    assert shown.status == 200
    # What was answered without a read is what a read gives, but for the place in the queue.
    assert shown.json == job | {"queue_position": 1}

"""The yardstick of admission: FastAPI parsing the same body and answering the same JSON, without a database."""

from typing import Any

from fastapi import FastAPI, Header
from pydantic import BaseModel

app = FastAPI()


class NewJob(BaseModel):
    """A body as a client of admission sends it."""

    workflow: str
    input: dict[str, Any]
    lane: str = "standard"
    metadata: dict[str, Any] = {}


class Echo(BaseModel):
    """What comes back."""

    id: str
    workflow: str
    status: str
    input: dict[str, Any]


@app.post("/v1/jobs", status_code=202)
async def echo(job: NewJob, authorization: str = Header(), idempotency_key: str = Header()) -> Echo:
    """Answer what came."""
    return Echo(id=idempotency_key, workflow=job.workflow, status="queued", input=job.input)

"""The task that runs one attempt. A retry is a row in Postgres, never Celery's."""

from uuid import UUID

from sqlalchemy.util.concurrency import await_only

from app.core.ids import AttemptId, JobId
from app.execution import runner
from workers import process
from workers.celery import celery


@celery.task(name="towpath.jobs.run", ignore_result=True)
def run(job: str, attempt: str) -> None:
    """Run one attempt of a job."""
    await_only(runner.run(process.parts().runtime, JobId(UUID(job)), AttemptId(UUID(attempt))))

"""The task that runs attempts. A retry is a row in Postgres, never Celery's."""

from uuid import UUID

from sqlalchemy.util.concurrency import await_only

from app.core.ids import AttemptId, JobId
from app.execution import runner
from workers import process
from workers.celery import celery


@celery.task(name="towpath.jobs.run", ignore_result=True)
def run(attempts: list[tuple[str, str]]) -> None:
    """Run the attempts of one message, (job, attempt) each, beside each other."""
    items = [(JobId(UUID(job)), AttemptId(UUID(attempt))) for job, attempt in attempts]
    await_only(runner.run_all(process.parts().runtime, items))

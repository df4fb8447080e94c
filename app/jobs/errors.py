"""Errors of the jobs room."""

from app.core.errors import TowpathError


class JobFinished(TowpathError):
    """The job has ended already. Context: status."""

    code = "job_finished"


class JobNotRetryable(TowpathError):
    """Only a failed or expired job can be retried. Context: status."""

    code = "job_not_retryable"


class JobNotWaiting(TowpathError):
    """A worker has the job, or is about to, or it has ended: only what waits can be moved or answered. Context: status."""

    code = "job_not_waiting"

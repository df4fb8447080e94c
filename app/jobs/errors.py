"""Errors of the jobs room."""

from app.core.errors import TowpathError


class JobFinished(TowpathError):
    """The job has ended already. Context: status."""

    code = "job_finished"


class JobNotRetryable(TowpathError):
    """Only a failed or expired job can be retried. Context: status."""

    code = "job_not_retryable"

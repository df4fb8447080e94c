"""The state machine: what a job is, which moves are legal, and the only code that makes them.

states        lanes, states, the table of legal moves, the rule of each ending
bulk          many jobs by a filter: cancelled, retried
transitions   claim, end, note, dispatch, wake, expire, cancel, drop, retry
moving        other lanes and priorities for jobs that wait
caps          what a job counts under, and the hash of its kind, pure
reads         one job, lists, events
errors        JobFinished, JobNotRetryable, JobNotWaiting

Owns job, job_event; makes and ends rows of attempt with them, in the same statement.
"""

"""Tries at jobs and the workers that make them: the fence, the lease, the heartbeat.

leases   what a worker process holds, and the heartbeat that keeps it
config   LeaseConfig
errors   AttemptLost

Owns attempt, worker. Attempts are made, claimed and ended together with their job's state, by
app/jobs/transitions.py; here is what concerns the lease alone.
"""

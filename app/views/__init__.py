"""Reads that join rooms, for edges that show them; and the one watcher for all who wait.

jobs       a job with its usage, provenance and place in the queue; its receipt
why        why a job is not running
operations what operators have paused, and what is left of it; lanes, workers
limits     a tenant's limits with what is left of them
watching   Watch: clients that wait for a job, on one listening connection a process

Writes nothing.
"""

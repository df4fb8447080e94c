"""Measurements that anyone can repeat: `scripts/bench NAME [--json]`. Ratios within one run are what counts.

load        a raw HTTP load generator, cheap enough to find a server's limit
ground      servers, processes, and what they cost
admission   requests admitted a second, beside a FastAPI echo of the same body
drain       no-op jobs from queued to succeeded through one worker process
inflight    a thousand model calls of one second in one worker process
ledger      holds and settlements on one hot account
"""

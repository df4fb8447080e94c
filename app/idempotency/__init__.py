"""A client's name for one intent: the first request makes the object, the same one again finds it.

records   fingerprint, parse_key, claim: for every POST that creates; admission has claims of its own
errors    IdempotencyKeyReused

Owns idempotency_record. A record lives as long as the transaction that made it commits, then 24 h.
"""

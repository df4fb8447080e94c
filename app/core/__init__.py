"""Foundation without a domain word: what every room may lean on.

errors       TowpathError, the one family of refusals
ids          typed UUIDv7 ids and their prefixed wire form
money        whole nano-dollars to and from decimal strings
clock        the moment, in Python; in SQL it is app_now()
db           Base of the tables, Database with its transactions
statements   hot SQL, one statement a file
groupcommit  many callers, one transaction
backoff      delays of retries
lists        opaque cursors
tracing      where a call stands in its caller's trace
logs         structured logs with the ids that join them
"""

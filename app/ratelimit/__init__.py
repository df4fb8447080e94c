"""How fast anyone may ask: token buckets in Valkey, several of them in one call, and places kept for who was refused.

limiter    open_limiter, Limiter: take, refund, peek
charging   what one request draws on: the buckets of a caller
buckets    the arithmetic of one bucket, and those that a process holds for itself
config     RatelimitConfig
errors     RateLimitedRequests, RateLimitedTokens, LimitsUnavailable

Owns token_charge. Its counts are in Valkey, may be lost, and fill up again by themselves.
"""

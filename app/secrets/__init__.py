"""Values the platform must be able to use again: sealed at rest, write-only to everyone else.

vault     open_vault, store, reveal, discard
config    SecretsConfig
errors    SecretUnreadable

Owns secret. Knows no purpose but its name.
"""

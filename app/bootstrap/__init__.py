"""Composition: settings become one frozen platform a process. Nothing is built at import.

settings   everything an operator may set, read once
platform   the parts of an API, a worker, a control process
tenancy    a tenant with all it needs
reporting  logs and error reports without secrets
"""

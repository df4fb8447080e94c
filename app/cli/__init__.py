"""`towpath`: the command line of clients and operators.

main        the tree of commands
together    up: everything on this machine (stack starts and watches it, demo shows one job)
processes   api, worker, control, flower
migrate     the schema
admin       tenants, keys, budgets, prices, switches
audit       verify the trail
listen      receive webhooks on this machine
"""

from app.cli.main import main

__all__ = ["main"]

"""`towpath`: the command line of clients and operators.

main        the tree of commands
together    up: everything on this machine (stack starts and watches it, demo shows one job)
processes   api, worker, control, flower
migrate     the schema
admin       tenants, keys, budgets, prices, switches
audit       verify the trail
client      the API, as the commands of clients call it; exit statuses
jobs, collections, workflows, webhooks, account
            what clients do through the API
listen      receive webhooks on this machine
showing     how every command answers, for people and with --json
"""

from app.cli.main import main

__all__ = ["main"]

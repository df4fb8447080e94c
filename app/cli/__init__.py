"""`towpath`: the command line of clients and operators.

processes   api, worker, control, flower, migrate, up
admin       tenants, keys, budgets, prices, switches
audit       verify the trail
listen      receive webhooks on this machine
stack       what `up` starts and watches
demo        what `up` shows
"""

from app.cli.main import main

__all__ = ["main"]

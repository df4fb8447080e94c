"""What goes by age: contents of ended jobs, their history, deliveries, records whose time is over.

purge      the loop: one batch of one kind of data after another, at a stated part of the time
config     RetentionConfig: how long each kind stays

Owns purge_mark, purge_later. Deletes rows of every room below; never an audit entry, a usage line, a ledger
entry, or anything of a job that hasn't ended.
"""

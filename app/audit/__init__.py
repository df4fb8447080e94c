"""Who did what to what, kept so that a later change shows.

actions       the name of every action
trail         entry, append: what a room writes beside the change it makes, without a lock
denials       what a key was refused, once a minute
sealer        chains the entries that have become visible
verification  walks the chains and names the first entry that is not as it was sealed

Owns audit_entry, audit_pending, audit_link. One chain a tenant, one for the platform; what concerns
one tenant is in its own. The database refuses UPDATE, DELETE and TRUNCATE of entries and links.
Not seen without an anchor outside the database: the loss of the newest links together with their
entries, a return to an older copy of the whole, a tail rewritten by who may write links.
"""

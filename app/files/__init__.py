"""Large inputs and outputs: rows in Postgres, bytes in a folder.

store     open_store, put, get, drop, sweep: bytes under their digest, in a folder a tenant
errors    FileLost

Owns file. Bytes are immutable and reach the disk before their row is committed, so a row never
names bytes that were not written; what a failed transaction leaves behind is found by its digest
and used by the next put of the same bytes. They go when the last row that names them is swept.
"""

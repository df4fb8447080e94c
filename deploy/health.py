"""Whether this container's process makes progress: it has spoken to the database of late.

For processes without HTTP. A worker beats once a second and a control process tries or holds its
locks as often, so that ten seconds of silence mean a stuck or a dead one, however well connected.
"""

import os
import sys

import psycopg

SILENCE_SECONDS = 10
# client_addr is the container's own address: other replicas have others.
QUERY = """
SELECT count(*) FROM pg_stat_activity
WHERE usename = current_user
  AND client_addr IS NOT DISTINCT FROM inet_client_addr()
  AND pid <> pg_backend_pid()
  AND state_change > now() - make_interval(secs => %s)
"""


def main() -> int:
    """Exit status: 0 where it does."""
    url = os.environ["TOWPATH_DATABASE_URL"]  # noqa: TID251 - a probe, without the settings' cost
    with psycopg.connect(url, connect_timeout=5) as connection:
        row = connection.execute(QUERY, (SILENCE_SECONDS,)).fetchone()
    return 0 if row is not None and row[0] else 1


if __name__ == "__main__":
    sys.exit(main())

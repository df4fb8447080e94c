"""A process that starts servers and holds them until it is killed: python -m … FOLDER NAME…"""

import dataclasses
import json
import signal
import sys
from pathlib import Path

from app.embedded import servers

if __name__ == "__main__":
    held = servers.start(Path(sys.argv[1]), sys.argv[2:])
    pids = {name: each.process.pid for name, each in held.running.items()}
    line = {"pids": pids, **dataclasses.asdict(held.addresses)}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
    signal.pause()

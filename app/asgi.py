"""What uvicorn serves: `python -m app.asgi HOST PORT`, or `uvicorn --factory app.asgi:create_app`."""

import sys

import uvicorn
from fastapi import FastAPI

from app.api import application
from app.bootstrap import platform, reporting, settings


def create_app() -> FastAPI:
    """The application on the settings of this process's environment."""
    chosen = settings.load()
    reporting.begin("api", chosen)
    return application.build(lambda: platform.open_api(chosen), body_bytes=chosen.api.body_bytes)


def main(host: str, port: int) -> None:
    """Serve until a signal; requests in flight get 20 s to end."""
    uvicorn.run(
        "app.asgi:create_app", factory=True, host=host, port=port, loop="uvloop", http="httptools",
        access_log=False, log_config=None, backlog=4096, timeout_graceful_shutdown=20,
        server_header=False,
    )  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

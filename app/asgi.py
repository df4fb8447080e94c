"""What uvicorn serves: `uvicorn --factory app.asgi:create_app`."""

from fastapi import FastAPI

from app.api import application
from app.bootstrap import platform, reporting, settings


def create_app() -> FastAPI:
    """The application on the settings of this process's environment."""
    chosen = settings.load()
    reporting.begin("api", chosen)
    return application.build(lambda: platform.open_api(chosen), body_bytes=chosen.api.body_bytes)

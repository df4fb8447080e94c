"""Run the migrations from code, on any checkout or installed package."""

from pathlib import Path

from alembic import command
from alembic.config import Config


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["url"] = url
    return config


def up(url: str, revision: str = "head") -> None:
    """Migrate the database at `url` (the owner's) up to a revision."""
    command.upgrade(_config(url), revision)


def down(url: str, revision: str = "base") -> None:
    """Migrate it down."""
    command.downgrade(_config(url), revision)

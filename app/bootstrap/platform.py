"""The parts of the API, and what all processes share: put together from the settings, opened and closed once.

A worker's are in worker.py: the clients of models and what runs a job are heavy, and needed by it alone.
"""

from dataclasses import dataclass

from app.audit.denials import Denials
from app.bootstrap.settings import Settings
from app.core import http
from app.core.db import Database, open_database
from app.core.http import Sender
from app.files import store as storing
from app.files.store import Store
from app.intake import admission
from app.intake.admission import Desk
from app.ratelimit.limiter import Limiter
from app.retrieval import embedding
from app.retrieval import tool as searching
from app.retrieval.embedding import Embedder
from app.secrets import vault as sealing
from app.secrets.config import SecretsConfig
from app.secrets.vault import Vault
from app.tenants import keys
from app.tenants.refusals import Refusals
from app.tools import registry
from app.tools.built_in import requests
from app.tools.config import ToolsConfig
from app.tools.registry import Registry


class MissingSetting(ValueError):
    """A process was started without what it can't run without."""


@dataclass(frozen=True, slots=True)
class ApiPlatform:
    """The parts of an API process."""

    settings: Settings
    db: Database
    desk: Desk
    vault: Vault
    store: Store
    embedder: Embedder
    sender: Sender
    keys: keys.Cache
    limiter: Limiter
    refusals: Refusals
    denials: Denials
    tools: Registry

    async def close(self) -> None:
        """Wait for what is in flight, then let the database go."""
        await self.desk.close()
        await self.keys.close()
        await self.limiter.close()
        await self.refusals.close()
        self.sender.close()
        await self.db.close()


def database(settings: Settings, *, pool_size: int = 10) -> Database:
    """The database of the settings. Raises MissingSetting."""
    if settings.database_url is None:
        raise MissingSetting(
            "TOWPATH_DATABASE_URL is not set: start `towpath up`, or name a database"
        )
    return open_database(settings.database_url, pool_size=pool_size)


async def open_api(settings: Settings) -> ApiPlatform:
    """The parts of an API process."""
    db = database(settings, pool_size=settings.api.database_pool)
    limiter = Limiter(settings.cache_url, settings.ratelimit)
    embedder = embedding.open_embedder()
    return ApiPlatform(
        settings, db, desk(settings, db, limiter), sealing.open_vault(vault_config(settings)),
        storing.open_store(settings.files_folder), embedder, sender(settings),
        keys.Cache(), limiter, Refusals(db), Denials(), tools(settings.tools, db, embedder),
    )  # fmt: skip


def desk(settings: Settings, db: Database, limiter: Limiter) -> Desk:
    """Where this process admits jobs."""
    rungs = [(it.provider, it.model) for it in settings.llm.ladder(settings.llm_base_url)]
    return admission.open_desk(db, settings.intake, rungs, limiter)


def vault_config(settings: Settings) -> SecretsConfig:
    """Where the master key is: where the settings say, else in a file of the state folder, made on first use."""
    chosen = settings.secrets
    if chosen.key is None and chosen.key_file is None:
        return SecretsConfig(key_file=settings.state_dir / "secrets.key")
    return chosen


def sender(settings: Settings) -> Sender:
    """Who sends to tenants' addresses."""
    return http.open_sender(settings.webhooks.allowed_private, settings.webhooks.timeout_seconds)


def tools(config: ToolsConfig, db: Database | None, embedder: Embedder) -> Registry:
    """The tools of a process: the built-in ones, and those of installed packages.

    Without a database they are for looking at, not for calling.
    """
    # Its threads begin with the first name that is looked up: the API and operators' commands make none.
    sending = http.open_sender(config.allowed_private, requests.TIMEOUT.total_seconds())
    return registry.load([*registry.PURE, *requests.tools(sending), searching.tool(db, embedder)])

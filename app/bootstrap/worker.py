"""The parts of a worker process, put together from the settings: frozen, opened and closed once."""

from dataclasses import dataclass

from app.bootstrap import platform
from app.bootstrap.settings import Settings
from app.budgets import ledger
from app.budgets.ledger import Ledger
from app.core.db import Database
from app.core.http import Sender
from app.execution import runtime as running
from app.execution.runtime import Runtime
from app.files import store as storing
from app.llm import gateway as calling
from app.llm.gateway import Gateway
from app.retrieval import embedding
from app.secrets import vault as sealing
from app.secrets.vault import Vault
from app.tools import calling as tooling


@dataclass(frozen=True, slots=True)
class WorkerPlatform:
    """The parts of a worker process."""

    settings: Settings
    db: Database
    runtime: Runtime
    ledger: Ledger
    gateway: Gateway
    vault: Vault
    sender: Sender

    async def close(self) -> None:
        """Wait for what is in flight, then let the database go."""
        await self.runtime.close()
        await calling.close(self.gateway)
        await ledger.close(self.ledger)
        self.sender.close()
        await self.db.close()


async def open_worker(settings: Settings) -> WorkerPlatform:
    """The parts of a worker process, in its event loop."""
    db = platform.database(settings)
    book = ledger.open_ledger(db)
    gateway = calling.open_gateway(settings.llm, book, db, embedded_url=settings.llm_base_url)
    embedder = embedding.open_embedder()
    runtime = running.open_runtime(
        db, settings.execution, settings.leases, ledger_=book, gateway=gateway,
        embedder=embedder, store=storing.open_store(settings.files_folder),
        tools=tooling.open_toolbox(db, platform.tools(settings.tools, db, embedder)),
    )  # fmt: skip
    return WorkerPlatform(
        settings,
        db,
        runtime,
        book,
        gateway,
        sealing.open_vault(platform.vault_config(settings)),
        platform.sender(settings),
    )

"""Everything an operator may set: one frozen block a concern, read once from TOWPATH_ variables."""

import os
from pathlib import Path
from typing import Final

from pydantic import BaseModel, Field, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.attempts.config import LeaseConfig
from app.execution.config import ExecutionConfig
from app.intake.config import IntakeConfig
from app.jobs.states import LANES
from app.llm.config import LlmConfig
from app.ratelimit.config import RatelimitConfig
from app.retention.config import RetentionConfig
from app.schedules.config import SchedulesConfig
from app.scheduling.config import MAX_SHARDS, SchedulingConfig
from app.secrets.config import SecretsConfig
from app.tools.config import ToolsConfig
from app.webhooks.config import WebhooksConfig

PREFIX: Final = "TOWPATH_"
NESTED: Final = "__"
# A client's own, read by the command line alone; a shell that has them may start a process all the same.
CLIENTS: Final = frozenset({"TOWPATH_URL", "TOWPATH_API_KEY", "TOWPATH_WEBHOOK_SECRET"})


class WorkerConfig(BaseModel, frozen=True, extra="forbid"):
    """One worker process."""

    lanes: tuple[str, ...] = LANES  # whose jobs it runs; webhook deliveries are run by every worker


class ApiConfig(BaseModel, frozen=True, extra="forbid"):
    """The HTTP API."""

    body_bytes: PositiveInt = 1024 * 1024  # of a request; larger inputs go through documents
    document_bytes: PositiveInt = 20 * 1024 * 1024  # of an uploaded document
    wait_seconds: PositiveInt = 30  # the longest a client may ask to wait in one request
    database_pool: PositiveInt = 10


class Settings(BaseSettings):
    """All settings. `TOWPATH_LEASES__RUNNING=PT10S` sets a member of a block."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter=NESTED, extra="forbid", frozen=True
    )

    database_url: str | None = None  # None: the embedded one, by `towpath up`
    database_owner_url: str | None = None  # for migrations alone
    broker_url: str | None = None
    cache_url: str | None = None  # apart from the broker's, which never evicts
    llm_base_url: str | None = None  # an OpenAI-compatible server for the first route
    state_dir: Path = Path(".towpath")
    files_dir: Path | None = None  # None: `files` in the state folder
    sentry_dsn: str | None = None
    log_level: str = "info"
    log_json: bool = True
    # Dispatchers that share the tenants out; the control process that starts last decides.
    dispatch_shards: int = Field(default=1, ge=1, le=MAX_SHARDS)
    api: ApiConfig = ApiConfig()
    worker: WorkerConfig = WorkerConfig()
    leases: LeaseConfig = LeaseConfig()
    execution: ExecutionConfig = ExecutionConfig()
    intake: IntakeConfig = IntakeConfig()
    scheduling: SchedulingConfig = SchedulingConfig()
    schedules: SchedulesConfig = SchedulesConfig()
    retention: RetentionConfig = RetentionConfig()
    ratelimit: RatelimitConfig = RatelimitConfig()
    llm: LlmConfig = Field(default_factory=LlmConfig)
    secrets: SecretsConfig = SecretsConfig()
    tools: ToolsConfig = ToolsConfig()
    webhooks: WebhooksConfig = WebhooksConfig()

    @property
    def files_folder(self) -> Path:
        """Where the bytes of files lie."""
        return self.files_dir or self.state_dir / "files"


class UnknownSetting(ValueError):
    """A TOWPATH_ variable that nothing reads: a misspelt limit must not be silently the default."""


def load() -> Settings:
    """The settings of this process's environment. Raises UnknownSetting, or pydantic's ValidationError."""
    known = {name.upper() for name in Settings.model_fields}
    for variable in os.environ:  # noqa: TID251 - the one place that reads the environment
        if variable.startswith(PREFIX) and variable not in CLIENTS:
            name = variable.removeprefix(PREFIX).split(NESTED)[0]
            if name.upper() not in known:
                raise UnknownSetting(
                    f"{variable} is not a setting; see docs/blueprint.md for all of them"
                )
    return Settings()

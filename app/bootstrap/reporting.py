"""Logs and error reports of a process, with the secrets of its settings masked by value."""

from sqlalchemy.engine import make_url

from app.bootstrap.settings import Settings
from app.core import logs


def begin(process: str, settings: Settings) -> None:
    """Send this process's logs to standard error, and its errors to Sentry where a DSN is set."""
    known = held(settings)
    logs.configure(process, settings.log_level, settings.log_json, known)
    logs.sentry(settings.sentry_dsn, known)


def held(settings: Settings) -> list[str]:
    """What this process knows that no log line may show: keys of providers, passwords of databases, the DSN."""
    secrets = [
        secret for route in settings.llm.ladder(settings.llm_base_url) for secret in route.secrets
    ]
    if settings.secrets.key is not None:
        secrets.append(settings.secrets.key.get_secret_value())
    if settings.sentry_dsn is not None:
        secrets.append(settings.sentry_dsn)
    for url in (
        settings.database_url, settings.database_owner_url, settings.broker_url, settings.cache_url,
    ):  # fmt: skip
        password = None if url is None else make_url(url).password
        if password is not None:
            secrets.append(str(password))
    return secrets

"""Settings of the secrets room."""

from pathlib import Path

from pydantic import BaseModel, SecretStr


class SecretsConfig(BaseModel, frozen=True, extra="forbid"):
    """Where the master key comes from: `key` itself, else a file, made on first use.

    32 bytes as base64 or as 64 hex digits. Whoever loses it loses every stored secret.
    """

    key: SecretStr | None = None
    key_file: Path | None = None

"""Recoverable secrets: sealed with AES-256-GCM under the operator's key, opened only by their owner.

A ciphertext is bound to its tenant, id and purpose, so that a row copied elsewhere doesn't open.
"""

import base64
import binascii
import contextlib
import hashlib
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import ids
from app.core.errors import NotFound
from app.core.ids import SecretId, TenantId
from app.secrets.config import SecretsConfig
from app.secrets.errors import SecretUnreadable
from app.secrets.models import Secret

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12  # random: safe for 2³² secrets under one key (NIST SP 800-38D, section 8.3)


@dataclass(frozen=True, slots=True)
class Vault:
    """The master key, ready for use; `key_id` tells keys apart and gives nothing away."""

    key_id: str
    cipher: AESGCM = field(repr=False)


def open_vault(config: SecretsConfig) -> Vault:
    """The vault of the key in the settings, or in the key file, which is made on first use.

    Raises ValueError where there is neither, or what is there is no key.
    """
    if config.key is not None:
        key = _decode(config.key.get_secret_value())
    elif config.key_file is not None:
        key = _decode(_key_text(config.key_file))
    else:
        raise ValueError(
            "no key for secrets: set TOWPATH_SECRETS__KEY or TOWPATH_SECRETS__KEY_FILE"
        )
    return Vault(hashlib.sha256(key).hexdigest()[:8], AESGCM(key))


async def store(
    session: AsyncSession, vault: Vault, tenant: TenantId, purpose: str, value: str
) -> SecretId:
    """Seal a value; from here on it is known by its id."""
    secret = SecretId(ids.new())
    nonce = secrets.token_bytes(NONCE_BYTES)
    row = {
        "id": secret,
        "tenant": tenant,
        "purpose": purpose,
        "nonce": nonce,
        "ciphertext": vault.cipher.encrypt(nonce, value.encode(), _bound(tenant, secret, purpose)),
        "key_id": vault.key_id,
        "created_at": func.app_now(),
    }
    await session.execute(insert(Secret).values(row))
    return secret


async def reveal(session: AsyncSession, vault: Vault, tenant: TenantId, secret: SecretId) -> str:
    """The value again. Raises NotFound, or SecretUnreadable under another key."""
    asked = select(Secret).where(Secret.tenant == tenant, Secret.id == secret)
    row = (await session.execute(asked)).scalar_one_or_none()
    if row is None:
        raise NotFound
    try:
        bound = _bound(tenant, secret, row.purpose)
        return vault.cipher.decrypt(row.nonce, row.ciphertext, bound).decode()
    except InvalidTag:
        raise SecretUnreadable(key_id=row.key_id) from None


async def discard(session: AsyncSession, tenant: TenantId, secret: SecretId) -> None:
    """Forget a value for good."""
    await session.execute(delete(Secret).where(Secret.tenant == tenant, Secret.id == secret))


def _bound(tenant: TenantId, secret: UUID, purpose: str) -> bytes:
    return tenant.bytes + secret.bytes + purpose.encode()


def _decode(text: str) -> bytes:
    stripped = text.strip()
    try:
        if len(stripped) == 2 * KEY_BYTES:
            key = bytes.fromhex(stripped)
        else:
            plain = stripped.replace("-", "+").replace("_", "/")
            key = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError("the key for secrets is not 32 bytes in base64 or hex")
    return key


def _key_text(path: Path) -> str:
    """The text of the key file. Two processes that start at once agree on one key: the first link wins."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{ids.new().hex}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode() + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
        draft.unlink()
    return path.read_text(encoding="ascii", errors="replace")

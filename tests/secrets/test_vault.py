"""A stored secret opens for its owner, under its key, in its place, and nowhere else."""

import asyncio
import base64
import stat
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import ids
from app.core.errors import NotFound
from app.core.ids import SecretId, TenantId
from app.secrets import vault
from app.secrets.config import SecretsConfig
from app.secrets.errors import SecretUnreadable
from app.secrets.models import Secret
from tests.arrange import make_tenant

KEY = bytes(range(32))


def opened(key: bytes = KEY) -> vault.Vault:
    return vault.open_vault(SecretsConfig(key=SecretStr(base64.b64encode(key).decode())))


async def test_a_secret_comes_back_and_lies_sealed(session: AsyncSession, tenant: TenantId) -> None:
    secret = await vault.store(session, opened(), tenant, "webhook", "whsec_é")
    assert await vault.reveal(session, opened(), tenant, secret) == "whsec_é"
    row = await session.get_one(Secret, secret)
    assert b"whsec" not in row.ciphertext
    assert row.key_id == opened().key_id


async def test_one_value_sealed_twice_looks_different(
    session: AsyncSession, tenant: TenantId
) -> None:
    first, second = [
        await session.get_one(Secret, await vault.store(session, opened(), tenant, "p", "v"))
        for _ in range(2)
    ]
    assert first.ciphertext != second.ciphertext


async def test_another_tenant_finds_nothing(
    session: AsyncSession, tenant: TenantId, admin: psycopg.Connection
) -> None:
    other = make_tenant(admin, "other")
    secret = await vault.store(session, opened(), tenant, "webhook", "value")
    with pytest.raises(NotFound):
        await vault.reveal(session, opened(), other, secret)
    await vault.discard(session, other, secret)
    assert await vault.reveal(session, opened(), tenant, secret) == "value"


@pytest.mark.parametrize("moved", ["tenant", "id", "purpose"])
async def test_a_row_moved_elsewhere_does_not_open(
    session: AsyncSession, tenant: TenantId, admin: psycopg.Connection, moved: str
) -> None:
    other = make_tenant(admin, "other")
    secret = await vault.store(session, opened(), tenant, "webhook", "value")
    owner, new_id = tenant, secret
    changes: dict[str, object]
    if moved == "tenant":
        owner, changes = other, {"tenant": other}
    elif moved == "id":
        new_id = SecretId(ids.new())
        changes = {"id": new_id}
    else:
        changes = {"purpose": "tool"}
    await session.execute(update(Secret).where(Secret.id == secret).values(changes))
    with pytest.raises(SecretUnreadable):
        await vault.reveal(session, opened(), owner, new_id)


async def test_another_key_opens_nothing_and_says_which_key_it_was(
    session: AsyncSession, tenant: TenantId
) -> None:
    secret = await vault.store(session, opened(), tenant, "webhook", "value")
    with pytest.raises(SecretUnreadable) as refusal:
        await vault.reveal(session, opened(bytes(32)), tenant, secret)
    assert refusal.value.context == {"key_id": opened().key_id}


async def test_a_discarded_secret_is_gone(session: AsyncSession, tenant: TenantId) -> None:
    secret = await vault.store(session, opened(), tenant, "webhook", "value")
    await vault.discard(session, tenant, secret)
    with pytest.raises(NotFound):
        await vault.reveal(session, opened(), tenant, secret)


def test_the_key_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "secrets.key"
    first = vault.open_vault(SecretsConfig(key_file=path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert vault.open_vault(SecretsConfig(key_file=path)).key_id == first.key_id
    assert [one.name for one in path.parent.iterdir()] == ["secrets.key"]


async def test_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    config = SecretsConfig(key_file=tmp_path / "secrets.key")
    opening = [asyncio.to_thread(vault.open_vault, config) for _ in range(8)]
    assert len({one.key_id for one in await asyncio.gather(*opening)}) == 1


@pytest.mark.parametrize(
    "text",
    [
        KEY.hex(),
        base64.b64encode(KEY).decode(),
        base64.urlsafe_b64encode(KEY).decode().rstrip("=") + "\n",
    ],
)
def test_a_key_is_read_in_either_form(text: str) -> None:
    assert vault.open_vault(SecretsConfig(key=SecretStr(text))).key_id == opened().key_id


@pytest.mark.parametrize("text", ["", "short", "z" * 64, base64.b64encode(bytes(16)).decode()])
def test_what_is_no_key_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match="not 32 bytes in base64 or hex") as refusal:
        vault.open_vault(SecretsConfig(key=SecretStr(text)))
    assert not text or text not in str(refusal.value)


def test_without_a_key_there_is_no_vault() -> None:
    with pytest.raises(ValueError, match="TOWPATH_SECRETS__KEY"):
        vault.open_vault(SecretsConfig())


def test_a_vault_shows_no_key() -> None:
    assert KEY.hex() not in repr(opened())
    assert "AESGCM" not in repr(opened())

"""The command line against a real API."""

from collections.abc import AsyncIterator

import pytest

from tests.api.client import Client
from tests.api.conftest import (  # noqa: F401 - the API's fixtures, for these tests too
    contract,
    ingesting,
    secret,
    settings,
    stranger,
    url,
)


@pytest.fixture
async def api(url: str, secret: str) -> AsyncIterator[Client]:  # noqa: F811
    async with Client(url, secret) as client:
        yield client

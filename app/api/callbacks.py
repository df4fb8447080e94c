"""Callbacks of single jobs: a `callback_url` names one of the tenant's endpoints, and nothing else."""

from collections.abc import Sequence

from app.bootstrap.platform import ApiPlatform
from app.core.errors import Invalid
from app.core.ids import EndpointId
from app.idempotency import records
from app.intake import admission
from app.tenants.keys import Caller
from app.webhooks import endpoints

Found = EndpointId | Invalid | None


async def of(
    platform: ApiPlatform, caller: Caller, url: str | None, key: str | None
) -> EndpointId | None:
    """The endpoint of one job, as `found` says. Raises Invalid."""
    [answer] = await found(platform, caller, [(url, key)])
    if isinstance(answer, Invalid):
        raise answer
    return answer


async def found(
    platform: ApiPlatform, caller: Caller, asked: Sequence[tuple[str | None, str | None]]
) -> list[Found]:
    """For each (url, idempotency key): the endpoint, the refusal, or None where nothing was asked for.

    None as well where the key stands for a job by now: that one is answered, whatever its endpoint is.
    """
    urls = {url for url, _ in asked if url is not None}
    if not urls:
        return [None] * len(asked)
    async with platform.db.transaction() as session:
        here = await endpoints.at(session, caller.tenant, urls)
        answers: list[Found] = []
        for url, key in asked:
            if url is None or url in here:
                answers.append(None if url is None else here[url])
            elif key is not None and await records.known(
                session, caller.tenant, admission.ROUTE, key
            ):
                answers.append(None)
            else:
                answers.append(_unknown())
    return answers


def _unknown() -> Invalid:
    return Invalid.at(
        "/callback_url",
        "is not the URL of an enabled webhook endpoint of yours: register it at /v1/webhook_endpoints",
    )

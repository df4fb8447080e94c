"""The main job on real input: the shipped corpus, the real small model, twenty-five questions.

What an answer must and must not state is in answers.yaml and is checked here by expressions alone:
the workflow's own verification has no say in it.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.embedded import model
from migrations import run as migrations
from tests.journeys.conftest import Servers
from tests.stack import ROOT, Stack, opened
from tests.waiting import until

QUESTIONS = yaml.safe_load((Path(__file__).parent / "answers.yaml").read_text(encoding="utf-8"))
DOCUMENTS = sorted((ROOT / "docs" / "handbook").glob("*.md")) + sorted(
    (ROOT / "docs" / "guide").glob("*.md")
)


async def ingest(stack: Stack) -> None:
    status, answer = await stack.call("POST", "/v1/collections", json={"name": "handbook"})
    assert status == 201, answer
    for path in DOCUMENTS:
        status, answer = await stack.call(
            "POST", "/v1/collections/handbook/documents", data=path.read_bytes(),
            params={"name": path.name}, headers={"Content-Type": "text/markdown"},
        )  # fmt: skip
        assert status == 202, answer

    async def ready() -> bool:
        states = await stack.rows("SELECT state, count(*) AS n FROM document GROUP BY state")
        return {row["state"]: row["n"] for row in states} == {"ready": len(DOCUMENTS)}

    await until(ready, seconds=120, what="all documents are ready")


async def answered(stack: Stack, question: str) -> dict[str, Any]:
    given = {"collection": "handbook", "question": question}
    job = await stack.post_job("answer", given, lane="interactive")
    end = await stack.ended(job, seconds=120)
    assert end.state == "succeeded", end.error
    return dict(end.output)


def cites(answer: dict[str, Any], expected: dict[str, Any]) -> bool:
    places = {(it["document"], it["section"]) for it in [expected, *expected.get("also", [])]}
    return bool(places & {(it["name"], it["section"]) for it in answer["citations"]})


def says(answer: dict[str, Any], patterns: list[str]) -> list[str]:
    return [it for it in patterns if re.search(it, answer["answer"], re.IGNORECASE)]


@pytest.fixture(scope="session")
def model_url(servers: Servers) -> Iterator[str]:
    running = model.start(servers.folder / "llm")
    yield running.base_url
    running.stop()


async def test_answers_cite_the_right_section_and_state_nothing_false(
    servers: Servers, model_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = servers.database
    migrations.down(database.owner_url)
    migrations.up(database.owner_url)
    async with opened(
        superuser_url=database.superuser_url, app_url=database.app_url,
        broker_url=servers.broker.broker(1), folder=tmp_path, provider_url=model_url,
    ) as stack:  # fmt: skip
        await ingest(stack)
        right, false, missing, outcomes = 0, [], [], Counter[str]()
        for expected in QUESTIONS["questions"]:
            answer = await answered(stack, expected["question"])
            outcomes[answer["outcome"]] += 1
            right += cites(answer, expected)
            false += [(expected["question"], it) for it in says(answer, expected["must_not"])]
            if len(says(answer, expected["must"])) < len(expected["must"]):
                missing.append((expected["question"], answer["answer"]))
        refused = [await answered(stack, it["question"]) for it in QUESTIONS["refused"]]
    with capsys.disabled():
        # The figures are for people: how many were drafted, and which fact is missing where.
        lines = [
            f"{right} of 20 cite the right section, {dict(outcomes)}, {len(missing)} miss a fact"
        ]
        lines += [f"  misses: {question} -> {said}" for question, said in missing]
        sys.stdout.write("\n" + "\n".join(lines) + "\n")
    assert false == []
    assert [it["outcome"] for it in refused] == ["refused"] * 5
    assert right >= 18
    assert outcomes["drafted"] >= 10

"""A question is asked once for all that wait, and never too early for one of them."""

import asyncio

import pytest

from db.errors import Unavailable
from db.postgres.standbys.shared_question import SharedQuestion
from tests.fixtures.patience import patience


class Server:
    """Answers how often it was asked, when the test lets it."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers: list[asyncio.Future[int]] = []
        self.was_asked = asyncio.Event()

    async def ask(self) -> int:
        self.asked += 1
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.answers.append(answer)
        self.was_asked.set()
        return await answer

    async def next(self) -> asyncio.Future[int]:
        async with patience():
            await self.was_asked.wait()
        self.was_asked.clear()
        return self.answers[-1]


def start(question: SharedQuestion[int]) -> asyncio.Task[int]:
    async def wait() -> int:
        return await question.answer()

    return asyncio.create_task(wait())


async def test_callers_share_a_question_that_was_not_asked_yet() -> None:
    server = Server()
    question = SharedQuestion(server.ask)
    together = [start(question) for _ in range(5)]
    (await server.next()).set_result(1)
    assert await asyncio.gather(*together) == [1] * 5


async def test_caller_gets_no_answer_to_a_question_that_was_asked_before() -> None:
    server = Server()
    question = SharedQuestion(server.ask)
    early = start(question)
    first = await server.next()
    late = [start(question) for _ in range(3)]
    await asyncio.sleep(0)  # they wait now
    first.set_result(1)
    assert await early == 1
    (await server.next()).set_result(2)
    assert await asyncio.gather(*late) == [2] * 3
    assert server.asked == 2


async def test_failure_is_that_of_its_callers_only() -> None:
    server = Server()
    question = SharedQuestion(server.ask)
    failing, cancelled = start(question), start(question)
    answer = await server.next()
    cancelled.cancel()
    answer.set_exception(Unavailable("Away.", hint="Wait."))
    with pytest.raises(Unavailable):
        await failing
    again = start(question)
    (await server.next()).set_result(7)
    assert await again == 7

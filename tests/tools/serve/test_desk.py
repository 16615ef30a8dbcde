"""The way of a picture: nobody waits for somebody else's large one."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from tests.tools.serve.steps import Steps
from tools.serve.answering import Answered, Question
from tools.serve.batching import Full
from tools.serve.desk import LARGE, Desk


def ask(desk: Desk, pixels: int) -> Coroutine[Any, Any, Answered]:
    return desk.answer(Question(str(pixels), b"", with_pictures=False))


def test_small_pictures_pass_large_ones_and_these_come_one_by_one() -> None:
    steps = Steps()
    steps.may_compute.set()
    desk = Desk(steps, batch=4, most=20)

    async def all_of_them() -> None:
        large = [asyncio.create_task(ask(desk, LARGE + 1)) for _ in range(3)]
        while str(LARGE + 1) not in steps.opening:
            await asyncio.sleep(0.01)
        small = [asyncio.create_task(ask(desk, 1)) for _ in range(10)]
        for one in small:
            assert await asyncio.wait_for(one, 30) == Answered("{}\n", {})
        # As many as there are threads for small ones would be decoded together.
        assert steps.opening.count(str(LARGE + 1)) == 1 and desk.waiting == 3
        steps.may_open.set()
        await asyncio.wait_for(asyncio.gather(*large), 30)
        assert desk.waiting == 0

    try:
        asyncio.run(all_of_them())
    finally:
        steps.may_open.set()
        desk.close()


def test_who_gives_up_makes_room() -> None:
    steps = Steps()
    desk = Desk(steps, batch=1, most=2)

    async def all_of_them() -> None:
        two = [asyncio.create_task(ask(desk, LARGE + 1)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Full):
            await ask(desk, 1)
        two[0].cancel()
        await asyncio.wait(two[:1])
        assert desk.waiting == 1
        steps.may_open.set()
        steps.may_compute.set()
        assert await asyncio.wait_for(ask(desk, 1), 30) == Answered("{}\n", {})
        await asyncio.wait_for(two[1], 30)

    try:
        asyncio.run(all_of_them())
    finally:
        steps.may_open.set()
        steps.may_compute.set()
        desk.close()

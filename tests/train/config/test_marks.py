"""What is marked as free to change on resume, and as nothing that a graph depends on."""

from typing import Annotated

from pydantic import BaseModel

from train.config.marks import FREE_ON_RESUME, NOT_IN_GRAPHS, marked
from train.config.schema import Config


def test_what_may_change_on_resume() -> None:
    assert marked(Config, FREE_ON_RESUME) == {
        "run_dir": True,
        "device": True,
        "jit_level": True,
        "log_every": True,
        "evaluate": True,
        "checkpoint": True,
        "data_root": True,
        "datasets": True,
        "cache": True,
        "cache_budget": True,
        "check_records": True,
        "storage": True,
        "report": True,
        "tensorboard": True,
        "reduction": {"bucket_mb": True},
    }


def test_what_no_graph_depends_on() -> None:
    keys = ("run_dir", "data_root", "storage", "log_every", "checkpoint", "report", "tensorboard")
    assert marked(Config, NOT_IN_GRAPHS) == dict.fromkeys(keys, True)


class Inner(BaseModel):
    plain: int = 1
    free: Annotated[int, FREE_ON_RESUME] = 2


class Outer(BaseModel):
    plain: int = 3
    other: Annotated[int, NOT_IN_GRAPHS] = 4
    both: Annotated[int, FREE_ON_RESUME, NOT_IN_GRAPHS] = 5
    inner: Inner = Inner()
    free: Annotated[Inner, FREE_ON_RESUME] = Inner()


def test_a_key_without_a_mark_stays() -> None:
    free, in_no_graph = marked(Outer, FREE_ON_RESUME), marked(Outer, NOT_IN_GRAPHS)
    assert free == {"both": True, "inner": {"free": True}, "free": True}
    assert in_no_graph == {"other": True, "both": True}
    everything = {"plain": 1, "free": 2}
    assert Outer().model_dump(exclude=free) == {"plain": 3, "other": 4, "inner": {"plain": 1}}
    assert Outer().model_dump(exclude=in_no_graph) == {
        "plain": 3,
        "inner": everything,
        "free": everything,
    }

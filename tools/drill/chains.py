"""The drill: which faults hit which runs in which order, and what has become of them."""

import random
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tools.drill.disturbed_run import Run, is_nearly_done
from tools.drill.job import NotSurvived
from tools.drill.kinds.kind import Kind
from tools.drill.places import PLACES
from tools.drill.results import Tried
from tools.drill.site import Site

# Faults that hit one run, if it has not come to its end before.
_CHAIN = (4, 8)


@dataclass(frozen=True)
class Chain:
    """A run and the faults that hit it, one after another.

    Attributes:
        name: Of its folder; with the seed of the drill it says all about it.
        seed: Of what is left to chance in it.
        kinds: The faults.
    """

    name: str
    seed: str
    kinds: Sequence[Kind]


def plan(kinds: Mapping[str, Kind], faults: int, seed: int) -> list[Chain]:
    """Return the chains of a drill: every kind once, as far as there are faults, then any.

    Args:
        kinds: What can be tried, by key.
        faults: Number of faults.
        seed: Decides the order.
    """
    rng = random.Random(seed)
    drawn = list(kinds.values())
    rng.shuffle(drawn)
    drawn = drawn[:faults]
    drawn += rng.choices(list(kinds.values()), k=faults - len(drawn))
    by_place: dict[str, list[Kind]] = defaultdict(list)
    for kind in drawn:
        by_place[kind.where].append(kind)
    chains = []
    for where, found in by_place.items():
        for number, part in enumerate(_parts(found, rng)):
            name = f"{where}-{number}"
            chains.append(Chain(name, f"{seed} {name}", part))
    return chains


def _parts(kinds: Sequence[Kind], rng: random.Random) -> Iterator[list[Kind]]:
    """Cut a sequence of faults into chains; one after which nothing can follow ends its chain."""
    last = [kind for kind in kinds if kind.is_last]
    others = [kind for kind in kinds if not kind.is_last]
    while others or last:
        size = rng.randint(*_CHAIN)
        part, others = others[:size], others[size:]
        if last:
            part.append(last.pop())
        yield part


def drill(
    site: Site, chains: Sequence[Chain], keep: bool, say: Callable[[str], None]
) -> list[Tried]:
    """Run all chains; return every fault with what has become of it.

    Args:
        site: What the runs share.
        chains: The plan.
        keep: Keep the folders of runs that survived too.
        say: Told of every fault.
    """
    tried: list[Tried] = []
    for chain in chains:
        found = run_chain(site, chain, say)
        tried += found
        if not keep and all(one.problem is None for one in found):
            shutil.rmtree(site.folder / chain.name, ignore_errors=True)
    return tried


def run_chain(site: Site, chain: Chain, say: Callable[[str], None]) -> list[Tried]:
    """Hit runs with the faults of a chain, in order; a new one when a run is at its end."""
    tried: list[Tried] = []
    left, number = list(chain.kinds), 0
    while left:
        folder = site.folder / chain.name / f"run-{number}"
        folder.mkdir(parents=True)
        number += 1
        rng = random.Random(f"{chain.seed} {number}")
        with PLACES[chain.kinds[0].where].open(folder) as place:
            run = Run(site, place, folder, rng)
            try:
                part = _hit_run(run, chain, left, say)
            finally:
                run.close()
        left = left[len(part) :]
        tried += part
    return tried


def _hit_run(
    run: Run, chain: Chain, kinds: Sequence[Kind], say: Callable[[str], None]
) -> list[Tried]:
    """Hit one run until it is at its end, something is wrong, or all is done."""
    tried: list[Tried] = []
    for kind in kinds:
        one = Tried(kind.key, chain.name)
        tried.append(one)
        hits = len(run.hits)
        try:
            one.detail = kind.strike(run)
            run.check()
        except NotSurvived as error:
            one.problem = str(error)
        except Exception as error:  # hours of results must not be lost
            one.problem = f"the drill itself failed: {type(error).__name__}: {error}"
        say(f"{chain.name}: {kind.title}: {one.problem or one.detail}")
        if len(run.hits) > hits:
            one.hit = run.hits[hits]
        if one.problem is not None:
            return tried
        if is_nearly_done(run):
            break
    try:
        run.complete()
    except NotSurvived as error:
        for one in tried:
            one.problem = f"hit by {', '.join(t.key for t in tried)}: {error}"
        say(f"{chain.name}: {tried[-1].problem}")
    return tried

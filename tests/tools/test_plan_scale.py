"""``python -m tools plan-scale``: its formulas against simulated algorithms, its command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.commands import Outcome
from tools.plan_scale import links, machines
from tools.plan_scale.links import Level, Link, halving_doubling, hierarchical, mesh, ring
from tools.plan_scale.model import Plan, images_for, predict, seconds_alone
from tools.plan_scale.network import Network
from tools.plan_scale.waiting import expected_maximum, slowest_core

Tools = Callable[..., Outcome]

LINK = Link(alpha=3e-6, beta=2e-9)
PLAN = Plan(Network(700_000, 440_000, 2_000, 1.2e8), tasks=3, datasets=3, images=16)
MACHINE = machines.machine("ascend910b")


class Wires:
    """Ranks with a vector each that send to one another; counts the time of every round."""

    def __init__(self, ranks: int, length: int, link: Link = LINK) -> None:
        self.link = link
        self.vectors = [np.arange(length) * (rank + 1.0) for rank in range(ranks)]
        self.expected = sum(self.vectors)
        self.seconds = 0.0

    def round(self, messages: list[tuple[int, int, slice]], add: bool) -> None:
        """Messages (from, to, part) at the same time; at most one from and to every rank."""
        assert len({m[0] for m in messages}) == len({m[1] for m in messages}) == len(messages)
        contents = [self.vectors[source][part].copy() for source, _, part in messages]
        for (_, target, part), content in zip(messages, contents, strict=True):
            if add:
                self.vectors[target][part] += content
            else:
                self.vectors[target][part] = content
        # Sizes in bytes, 8 for a value.
        largest = max(content.nbytes for content in contents)
        self.seconds += self.link.alpha + self.link.beta * largest

    def assert_reduced(self) -> None:
        for vector in self.vectors:
            assert np.array_equal(vector, self.expected)


def simulate_ring(ranks: int, length: int) -> Wires:
    wires, each = Wires(ranks, length), length // ranks

    def part(number: int) -> slice:
        return slice(number % ranks * each, (number % ranks + 1) * each)

    for adds, offset in ((True, 0), (False, 1)):
        for step in range(ranks - 1):
            wires.round(
                [(r, (r + 1) % ranks, part(r + offset - step)) for r in range(ranks)], add=adds
            )
    return wires


def simulate_halving_doubling(ranks: int, length: int) -> Wires:
    wires, power = Wires(ranks, length), 2 ** (ranks.bit_length() - 1)
    everything = slice(0, length)
    folded = [(rank, rank - power, everything) for rank in range(power, ranks)]
    if folded:
        wires.round(folded, add=True)
    owned = dict.fromkeys(range(power), (0, length))
    distances = [power >> level for level in range(1, power.bit_length())]
    for distance in distances:
        messages = []
        for rank in range(power):
            begin, end = owned[rank]
            middle = (begin + end) // 2
            lower = not rank & distance
            messages.append(
                (rank, rank ^ distance, slice(middle, end) if lower else slice(begin, middle))
            )
            owned[rank] = (begin, middle) if lower else (middle, end)
        wires.round(messages, add=True)
    for distance in reversed(distances):
        wires.round(
            [(rank, rank ^ distance, slice(*owned[rank])) for rank in range(power)], add=False
        )
        pairs = {rank: (owned[rank], owned[rank ^ distance]) for rank in range(power)}
        owned = {r: (min(a[0], b[0]), max(a[1], b[1])) for r, (a, b) in pairs.items()}
    if folded:
        wires.round([(low, high, everything) for high, low, _ in folded], add=False)
    return wires


@pytest.mark.parametrize("ranks", [2, 3, 4, 7, 8])
def test_ring_takes_as_long_as_its_messages(ranks: int) -> None:
    wires = simulate_ring(ranks, 840)
    wires.assert_reduced()
    assert ring(LINK, ranks, 840 * 8) == pytest.approx(wires.seconds)


@pytest.mark.parametrize("ranks", [2, 3, 4, 6, 8, 16])
def test_halving_doubling_takes_as_long_as_its_messages(ranks: int) -> None:
    wires = simulate_halving_doubling(ranks, 960)
    wires.assert_reduced()
    assert halving_doubling(LINK, ranks, 960 * 8) == pytest.approx(wires.seconds)


def test_hierarchy_is_its_three_phases() -> None:
    """Reduce-scatter in nodes of 4, ring over 6 nodes with a fourth of the bytes, all-gather."""
    inside, between, size = Level(LINK, ("ring",)), Level(Link(5e-5, 8e-9), ("ring",)), 9600.0
    scatter = 3 * (LINK.alpha + size / 4 * LINK.beta)
    nodes = 2 * 5 * (5e-5 + size / 4 / 6 * 8e-9)
    expected = scatter + nodes + scatter
    assert hierarchical(inside, between, 4, 24, size) == pytest.approx(expected)
    assert hierarchical(inside, between, 4, 3, size) == ring(LINK, 3, size)
    assert hierarchical(inside, between, 4, 1, size) == 0
    with pytest.raises(ValueError, match="10 ranks"):
        hierarchical(inside, between, 4, 10, size)


def test_the_quickest_algorithm_is_taken() -> None:
    level = Level(LINK, ("ring", "halving_doubling"))
    # Many small messages: the logarithm wins; large ones on a number that is no power of 2: ring.
    assert level.all_reduce(64, 8) == halving_doubling(LINK, 64, 8) < ring(LINK, 64, 8)
    assert level.all_reduce(6, 1e9) == ring(LINK, 6, 1e9) < halving_doubling(LINK, 6, 1e9)
    assert mesh(LINK, 8, 8e6) == pytest.approx(2 * 3e-6 + 2 * 1e6 * 2e-9)
    assert set(links._ALGORITHMS) == {"ring", "halving_doubling", "mesh"}


# From tables of order statistics.
@pytest.mark.parametrize(
    ("count", "mean"),
    [(1, 0), (2, 0.56419), (4, 1.02938), (8, 1.42360), (100, 2.50759), (1000, 3.24144)],
)
def test_expected_maximum_of_normal_numbers(count: int, mean: float) -> None:
    assert expected_maximum(count) == pytest.approx(mean, abs=2e-4)


def test_slowest_core_waits_for_whole_cores() -> None:
    rng = np.random.default_rng(0)
    assert slowest_core([[1.0], [1.5]], 2, rng) == 1.5
    assert slowest_core([[1.0], [1.5]], 4, rng) == 3.0
    noisy = [rng.normal(1, 0.1, 5000).tolist() for _ in range(2)]
    # The median of the larger of two: where F is the root of one half.
    assert slowest_core(noisy, 2, rng) == pytest.approx(1 + 0.1 * 0.5450, abs=0.01)


def test_one_rank_computes_only() -> None:
    step = predict(PLAN, MACHINE, 1)
    assert step.seconds == step.compute == seconds_alone(PLAN, MACHINE)
    # 48 images of 3 x 2 x 1.2e8 operations at 1,003 ResNet-50s a second, and 2 ms.
    expected = 0.002 + 48 * 1.2e8 / (1003 * 4.09e9)
    assert step.compute == pytest.approx(expected)
    assert (step.efficiency, step.reduction_share) == (1.0, 0.0)


def test_parts_of_a_step() -> None:
    """8 NPUs linked with each other: 2 messages of an eighth over every link."""

    def time(size: float) -> float:
        return 2 * (10e-6 + size / 8 / 56e9)

    step = predict(replace(PLAN, consolidate_every=20, jitter=0.1), MACHINE, 8)
    assert PLAN.message == 4 * (700_000 + 3 + 1)
    assert step.reduction == step.visible == pytest.approx(time(PLAN.message))
    # Means, variances, and the branches with their momentum.
    points = 2 * time(4 * 2_000) + time(4 * 2 * 440_000)
    assert step.consolidation == pytest.approx(points / 20)
    assert step.waiting == pytest.approx(0.1 * 1.42360 * step.compute, rel=1e-3)
    assert step.images == 8 * 48

    reduced = replace(PLAN, branches="allreduce", wire_bytes=2)
    assert reduced.message == 2 * 1_140_000 + 4 * 3
    step = predict(replace(reduced, consolidate_every=20), MACHINE, 8)
    assert step.consolidation == pytest.approx(2 * time(4 * 2_000) / 20)


def test_only_what_the_backward_pass_covers_is_hidden() -> None:
    slow = MACHINE.with_latency(1e4)
    hidden, open_ = (predict(replace(PLAN, overlap=o), slow, 8) for o in (1.0, 0.0))
    assert hidden.visible == pytest.approx(open_.reduction - 2 / 3 * open_.compute)
    assert predict(replace(PLAN, overlap=1.0), MACHINE, 8).visible == 0
    half = predict(replace(PLAN, overlap=0.5), MACHINE, 8)
    assert half.visible == pytest.approx(half.reduction / 2)


@given(st.sampled_from([8, 64, 1024]), st.floats(0.1, 0.99), st.floats(0.1, 100))
def test_images_for_an_efficiency(ranks: int, wanted: float, latency: float) -> None:
    machine = MACHINE.with_latency(latency)
    efficiencies = [
        predict(replace(PLAN, images=n), machine, ranks).efficiency for n in range(1, 65)
    ]
    enough = [n for n, e in enumerate(efficiencies, start=1) if e >= wanted]
    assert images_for(PLAN, machine, ranks, wanted, 64) == (enough[0] if enough else None)


def test_published_scaling_of_resnet50_lies_between_no_and_full_overlap() -> None:
    """MindSpore's benchmarks, 256 images per Ascend 910: 2115, 16600 and 32768 images/s."""
    network = Network(25_557_032, 1, 26_560, 4.09e9)
    machine = replace(machines.machine("ascend910"), overhead=0.0)
    plan = Plan(network, tasks=1, datasets=1, images=256, branches="allreduce")
    for ranks, published in ((1, 2115), (8, 16600), (16, 32768)):
        slow, quick = (
            predict(replace(plan, overlap=o), machine, ranks).images_per_second for o in (0.0, 1.0)
        )
        assert slow * 0.999 <= published <= quick * 1.001
        assert published == pytest.approx(slow, rel=0.1)


@pytest.mark.parametrize("name", machines.names())
def test_every_figure_of_a_machine_has_a_source(name: str) -> None:
    tree = yaml.safe_load(Path(machines.__file__).with_name("devices.yaml").read_text())[name]
    for part in ("inside", "between", "compute"):
        figures = set(tree[part]) - {"sources"}
        assert figures == set(tree[part]["sources"])
    machine = machines.machine(name)
    assert machine.node == 8
    assert machine.inside.link.beta == pytest.approx(1e-9 / tree["inside"]["bandwidth"])


def test_predictions_on_the_command_line(tools: Tools, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    sizes = "shared=700000,branches=440000,multiplications=1.2e8,tasks=3"
    done = tools("plan-scale", sizes, "--devices", "8,64", "--markdown", "--json", file)
    assert done.code == 0, done.err
    rows = [line.strip("| ").split(" | ") for line in done.out.splitlines()]
    assert [row[0] for row in rows[2:]] == ["8 local", "8 allreduce", "64 local", "64 allreduce"]
    tree = json.loads(file.read_text())
    assert len(tree["steps"]) == 4
    first = tree["steps"][0]
    plan = replace(PLAN, network=replace(PLAN.network, statistics=0))
    expected = predict(plan, MACHINE, 8)
    assert first["seconds"] == pytest.approx(expected.seconds)
    assert first["bytes_reduced"] == PLAN.message
    assert first["efficiency"] == pytest.approx(expected.efficiency)
    assert rows[2][1] == f"{1e3 * expected.seconds:.2f} ms"
    assert rows[2][3] == f"{100 * expected.efficiency:.1f} %"


def test_options_change_the_prediction(tools: Tools, tmp_path: Path) -> None:
    def seconds(*options: str) -> float:
        file = tmp_path / "plan.json"
        sizes = "shared=7e6,branches=4e6,multiplications=1e7,tasks=3"
        assert tools("plan-scale", sizes, "--devices", "64", *options, "--json", file).code == 0
        return float(json.loads(file.read_text())["steps"][1]["seconds"])

    plain = seconds()
    assert seconds("--latency", "4") > plain and seconds("--jitter", "0.1") > plain
    assert seconds("--machine", "ascend910") > plain
    for options in (("--speed", "4"), ("--wire", "float16"), ("--overlap", "1")):
        assert seconds(*options) < plain


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["shared=1,tasks=2"], ["shared=N", "multiplications=N"]),
        (["shared=a,branches=1,multiplications=1,tasks=1"], ["shared", "'a'"]),
        (["none.yaml"], ["none.yaml", "cannot be read"]),
        (["SIZES", "--devices", "8,12"], ["--devices", "'12'", "multiple of 8"]),
        (["SIZES", "--devices", "0"], ["--devices", "'0'"]),
        (["SIZES", "--machine", "tpu"], ["--machine", "'tpu'", "ascend910b"]),
        (["SIZES", "--overlap", "2"], ["--overlap", "from 0 to 1", "2"]),
        (["SIZES", "--speed", "0"], ["--speed", "above 0"]),
        (["SIZES", "--tasks", "3"], ["--tasks"]),
        (["SIZES", "--json", "no/such/folder.json"], ["no/such/folder.json", "cannot be written"]),
        (["measure"], ["--out"]),
        (["measure", "--out", "no/such/folder.json"], ["no/such"]),
        (["check", "--measurement", "none.json"], ["none.json", "cannot be read"]),
        (["check", "--measurement", "pyproject.toml"], ["pyproject.toml", "not valid JSON"]),
    ],
)
def test_mistakes_are_one_line(tools: Tools, words: list[str], parts: list[str]) -> None:
    sizes = "shared=1,branches=1,multiplications=1,tasks=1"
    tools("plan-scale", *(sizes if w == "SIZES" else w for w in words)).assert_error(*parts)

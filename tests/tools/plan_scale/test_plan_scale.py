"""``python -m tools plan-scale``: its formulas against simulated algorithms, its command line."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.aliases import WriteConfig
from tests.paths import ROOT
from tests.tools.commands import Outcome
from tools.plan_scale import prediction
from tools.plan_scale.prediction import (
    Links,
    Machine,
    Plan,
    halving_doubling,
    known_machines,
    mesh,
    predict,
    ring,
    spans,
)

Tools = Callable[..., Outcome]

LINKS = Links(alpha=3e-6, beta=2e-9)
# One graph of 1,500 kernels; 700,000 shared and 440,000 other values, 2,000 means and as many
# variances.
PLAN = Plan(
    "local", 1.2e8, 1500, 1, 18, 3, [2_800_016], [8_000, 8_000, 3_520_000], consolidate_every=20
)
MACHINE = known_machines()["ascend910b"][0]

PAGE = ROOT / "docs" / "scale.md"
# A table of the page, below a comment with the arguments that make it.
TABLES = re.findall(r"^<!-- plan-scale (.*) -->\n((?:\|.*\n)*)", PAGE.read_text(), re.MULTILINE)


class Wires:
    """Ranks with a vector each that send to one another; counts the time of every round."""

    def __init__(self, ranks: int, length: int, links: Links = LINKS) -> None:
        self.links = links
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
        self.seconds += self.links.alpha + self.links.beta * largest

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
    assert ring(LINKS, ranks, 840 * 8) == pytest.approx(wires.seconds)


@pytest.mark.parametrize("ranks", [2, 3, 4, 6, 8, 16])
def test_halving_doubling_takes_as_long_as_its_messages(ranks: int) -> None:
    wires = simulate_halving_doubling(ranks, 960)
    wires.assert_reduced()
    assert halving_doubling(LINKS, ranks, 960 * 8) == pytest.approx(wires.seconds)


def test_hierarchy_is_its_three_phases() -> None:
    """Reduce-scatter in nodes of 4, ring over 6 nodes with a fourth of the bytes, all-gather."""
    machine, size = Machine(4, LINKS, Links(5e-5, 8e-9), 1e12, 0.0, 0.0, 0.0), 9600.0
    scatter = 3 * (LINKS.alpha + size / 4 * LINKS.beta)
    nodes = 2 * 5 * (5e-5 + size / 4 / 6 * 8e-9)
    assert machine.all_reduce(24, size) == pytest.approx(scatter + nodes + scatter)
    assert machine.all_reduce(3, size) == ring(LINKS, 3, size)
    assert machine.all_reduce(1, size) == 0
    with pytest.raises(ValueError, match="10 ranks"):
        machine.all_reduce(10, size)


def test_the_quickest_algorithm_is_taken() -> None:
    links = replace(LINKS, algorithms=("ring", "halving_doubling"))
    # Many small messages: the logarithm wins; large ones on a number that is no power of 2: ring.
    assert links.all_reduce(64, 8) == halving_doubling(LINKS, 64, 8) < ring(LINKS, 64, 8)
    assert links.all_reduce(6, 1e9) == ring(LINKS, 6, 1e9) < halving_doubling(LINKS, 6, 1e9)
    assert mesh(LINKS, 8, 8e6) == pytest.approx(2 * 3e-6 + 2 * 1e6 * 2e-9)
    assert set(prediction.ALGORITHMS) == {"ring", "halving_doubling", "mesh"}


def test_one_rank_computes_only() -> None:
    step = predict(PLAN, MACHINE, 1)
    # 48 images of 3 x 2 x 1.2e8 operations at 2,115 ResNet-50s a second, kernels and waits.
    device = 48 * 1.2e8 / (2115 * 4.09e9) + 1500 * 0.6e-6
    assert step.seconds == step.compute == pytest.approx(device + 18 * 20e-6)
    assert (step.efficiency, step.reduction_share) == (1.0, 0.0)


def test_the_slower_of_host_and_device_counts() -> None:
    """700 launches of 20 us take longer than what the device does; 70 do not."""
    one = predict(replace(PLAN, waits=0), MACHINE, 1).compute
    assert predict(replace(PLAN, waits=0, launches=70), MACHINE, 1).compute == one
    host = predict(replace(PLAN, waits=0, launches=700), MACHINE, 1).compute
    assert host == pytest.approx(700 * 20e-6) and host > one


def test_a_span_holds_what_every_machine_predicts() -> None:
    machines = known_machines()["ascend910b"]
    steps = [predict(PLAN, machine, 64) for machine in machines]
    found = spans(steps)
    # All at best, all at worst; and the most efficient computes at worst and sends at best.
    assert found["seconds"] == (steps[0].seconds, steps[3].seconds)
    assert found["efficiency"] == (steps[1].efficiency, steps[2].efficiency)
    assert found["ranks"] == (64, 64)


def test_parts_of_a_step() -> None:
    """8 NPUs linked with each other: 2 messages of an eighth over every link."""

    def time(size: float) -> float:
        return 2 * (10e-6 + size / 8 / 56e9)

    step = predict(PLAN, MACHINE, 8)
    assert step.reduction == step.visible == pytest.approx(time(2_800_016))
    assert step.consolidation == pytest.approx((2 * time(8_000) + time(3_520_000)) / 20)
    assert step.images == 8 * 48
    whole = step.compute + step.reduction + step.consolidation
    assert step.seconds == pytest.approx(whole)
    assert step.images_per_second == pytest.approx(384 / whole)
    assert step.efficiency == pytest.approx(step.compute / whole)
    share = (step.reduction + step.consolidation) / whole
    assert step.reduction_share == pytest.approx(share)

    # Every message has its latency.
    step = predict(replace(PLAN, messages=[2_280_000, 12], consolidation=[]), MACHINE, 8)
    assert step.reduction == pytest.approx(time(2_280_000) + time(12))
    assert step.consolidation == 0


def test_only_what_the_backward_pass_covers_is_hidden() -> None:
    slow = replace(MACHINE, inside=replace(MACHINE.inside, alpha=0.1))
    hidden, open_ = (predict(replace(PLAN, overlap=o), slow, 8) for o in (1.0, 0.0))
    assert hidden.visible == pytest.approx(open_.reduction - 2 / 3 * open_.compute)
    assert predict(replace(PLAN, overlap=1.0), MACHINE, 8).visible == 0
    half = predict(replace(PLAN, overlap=0.5), MACHINE, 8)
    assert half.visible == pytest.approx(half.reduction / 2)


def test_published_scaling_of_resnet50_lies_between_no_and_full_overlap() -> None:
    """MindSpore's benchmarks, 256 images per Ascend 910: 2115, 16600 and 32768 images/s.

    The page names the predictions, rounded to hundreds.
    """
    statistics = [4 * 26_560] * 2
    plan = Plan("allreduce", 4.09e9, 0, 0, 0, 1, [4 * 25_557_033], statistics, 50, images=256)
    machine = known_machines()["ascend910"][0]
    page = PAGE.read_text(encoding="utf-8")
    for ranks, published in ((1, 2115), (8, 16600), (16, 32768)):
        slow, quick = (
            predict(replace(plan, overlap=o), machine, ranks).images_per_second for o in (0.0, 1.0)
        )
        assert slow * 0.999 <= published <= quick * 1.001
        assert published == pytest.approx(slow, rel=0.1)
        if ranks > 1:
            assert all(f"{round(speed, -2):,.0f}" in page for speed in (slow, quick))


@pytest.mark.parametrize("name", known_machines())
def test_every_figure_of_a_machine_has_a_source(name: str) -> None:
    tree = yaml.safe_load(Path(prediction.__file__).with_name("devices.yaml").read_text())[name]
    for part in ("inside", "between", "compute"):
        figures = set(tree[part]) - {"sources"}
        assert figures == set(tree[part]["sources"])
    first, *_, last = known_machines()[name]
    assert first.node == last.node == 8
    for end, machine in enumerate((first, last)):
        assert machine.inside.beta == pytest.approx(1e-9 / tree["inside"]["bandwidth"][end])
        assert machine.launch == pytest.approx(1e-6 * tree["compute"]["launch"][end])
    assert first.speed > last.speed and first.kernel < last.kernel and first.wait < last.wait


@pytest.fixture
def config(write_config: WriteConfig) -> Path:
    """A small network, of data sets that are not there."""
    names = ("one", "two", "three")
    return write_config(
        {
            "datasets": {name: {"records": f"nowhere/{name}"} for name in names},
            "image": {"size": 16},
            "model": {"depth": 10, "width": 1},
            "schedule": {"steps": 10, "consolidate_every": 5},
        }
    )


def test_predictions_on_the_command_line(tools: Tools, tmp_path: Path, config: Path) -> None:
    file = tmp_path / "plan.json"
    done = tools("plan-scale", config, "--devices", "8,64", "--markdown", "--json", file)
    assert done.code == 0, done.err
    rows = [line.strip("| ").split(" | ") for line in done.out.splitlines()]
    assert [row[0] for row in rows[2:]] == ["8 local", "8 allreduce", "64 local", "64 allreduce"]
    tree = json.loads(file.read_text())
    assert len(tree["steps"]) == 4
    plan = Plan(**tree["plans"][0])
    assert (plan.datasets, plan.images, plan.consolidate_every) == (3, 16, 5)
    assert plan.launches == 1 and plan.kernels > 500 and plan.waits == 6 + 3 * 4
    steps = [predict(plan, machine, 8) for machine in known_machines()["ascend910b"]]
    first = tree["steps"][0]
    assert {name: tuple(first[name]) for name in spans(steps)} == spans(steps)
    seconds = [float(f"{1e3 * end:.2g}") for end in first["seconds"]]
    assert rows[2][1] == f"{seconds[0]:g}-{seconds[1]:g} ms"
    assert rows[2][4] == f"{plan.messages[0] / 1e6:.2f} MB"


@pytest.mark.slow
def test_options_change_the_prediction(tools: Tools, tmp_path: Path, config: Path) -> None:
    def seconds(*options: str) -> float:
        file = tmp_path / "plan.json"
        assert tools("plan-scale", config, *options, "--devices", "64", "--json", file).code == 0
        return float(json.loads(file.read_text())["steps"][1]["seconds"][0])

    plain = seconds()
    assert seconds("--machine", "ascend910") > plain and seconds("--images", "32") > plain
    # 30 classes each if nothing is known of the data.
    assert seconds("--classes", "31") > plain == seconds("--classes", "30")
    assert seconds("--tasks", "4") > plain == seconds("--tasks", "3")
    assert seconds("--overlap", "1") < plain
    # Kernel by kernel the host is slower; in 16 bits the losses are a message of their own.
    assert seconds("jit_level=O0") > plain
    assert seconds("reduction.precision=float16") != plain


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["none.yaml"], ["none.yaml", "cannot be read"]),
        (["CONFIG", "--devices", "8,12"], ["--devices", "'12'", "multiple of 8"]),
        (["CONFIG", "--devices", "0"], ["--devices", "'0'"]),
        (["CONFIG", "--machine", "tpu"], ["--machine", "'tpu'", "ascend910b"]),
        (["CONFIG", "--overlap", "2"], ["--overlap", "from 0 to 1", "2"]),
        (["CONFIG", "precision=float32"], ["precision", "'float32'", "no rate"]),
        (["CONFIG", "jit_level=O0", "--machine", "ascend910"], ["jit_level", "'O0'", "auto or O2"]),
        (["CONFIG", "--json", "no/such/folder.json"], ["no/such/folder.json", "cannot be written"]),
    ],
)
def test_mistakes_are_one_line(
    tools: Tools, config: Path, words: list[str], parts: list[str]
) -> None:
    tools("plan-scale", *(config if w == "CONFIG" else w for w in words)).assert_error(*parts)


@pytest.mark.slow
@pytest.mark.parametrize(("words", "rows"), TABLES)
def test_tables_of_the_page_are_those_of_their_commands(
    words: str, rows: str, tools: Tools
) -> None:
    assert rows.count("\n") > 2
    config, *options = shlex.split(words)
    assert rows == tools("plan-scale", ROOT / config, *options, "--markdown").out

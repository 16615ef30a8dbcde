"""Every command that the pages show is run as shown, in order, on data that the page makes.

A block whose first line is ``# needs: ...`` cannot be run here: its commands are held against the
programs that they call. Output shown in a page is compared with what is printed; ``...`` stands
for anything. Training is cut to a few steps, so of its output only the words are compared.
"""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.docs import checked, checkout
from tests.docs.pages import COMMANDS, PAGES, Block, blocks, inline_code, pieces
from tests.paths import ROOT
from tools.__main__ import COMMANDS as TOOLS
from train.config.schema import Config

LANGUAGES = (*COMMANDS, "yaml", "json", "text", "python", "csv")
ALL = [block for page in PAGES for block in blocks(page)]
COMMAND_BLOCKS = [block for block in ALL if block.language in COMMANDS]
# Pages for those who work on the project, or on one device: their commands are only checked.
OTHERS = ("CONTRIBUTING.md", "rank_tables/*.md", "launch/*/*.md", "tests/*/*.md", ".github/**/*.md")
CHECKED = [block for block in COMMAND_BLOCKS if block.needs] + [
    block
    for pattern in OTHERS
    for page in sorted(ROOT.glob(pattern))
    for block in blocks(page)
    if block.language in COMMANDS
]
RUN = {
    page: found
    for page in PAGES
    if (found := [block for block in COMMAND_BLOCKS if block.page == page and not block.needs])
}
# The README's first block: the quick start has a test of its own (tests/test_quickstart.py), of
# which only the data are needed, and the other command is what runs this.
FILES = (".safetensors", ".json", ".yaml", ".md", ".py", ".html")
QUICK_START = "bash tests/run.sh"
DEMO_DATA = '"$MTLN_PYTHON" -m tools demo-data --images-per-class 10\n'
_NUMBER = re.compile(r"[-+]?\d[\d.,:]*")
_FRAME = re.compile(r"[\u2500-\u257f]")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=name)
def test_commands_do_what_the_page_shows(page: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkout"
    folder.mkdir()
    checkout.make(folder)
    wanted = [piece for block in RUN[page] for piece in pieces(block)]
    wanted = [replace(p, code=DEMO_DATA) if QUICK_START in p.code else p for p in wanted]
    ran = checkout.run(folder, wanted, seconds=500)
    for step in ran:
        shown = step.piece.output
        code = 2 if shown and "error: " in shown else 0
        assert step.code == code, f"{step.piece.place}: {step.code}\n{step.out}\n{step.err}"
        if shown:
            # Before a mistake, what a terminal shows as a bar may have been printed.
            printed = step.err[step.err.find("error: ") :] if code else step.out
            trains = "accuracy" in shown
            parts = re.split(r" ?\.\.\. ?", plain(shown, trains))
            pattern = ".*?".join(map(re.escape, parts))
            assert re.fullmatch(f"{pattern}.*" if trains else pattern, plain(printed, trains)), (
                f"{step.piece.place} shows\n{shown}\nand prints\n{printed}"
            )
    assert len(ran) == len(wanted)


def plain(text: str, trains: bool) -> str:
    """Text without line breaks, which a page may put elsewhere; of training without numbers."""
    if trains:
        text = _NUMBER.sub("#", _FRAME.sub(" ", text)).replace("# ranks", "# rank")
    return " ".join(text.split())


@pytest.mark.parametrize("block", CHECKED, ids=lambda block: block.place)
def test_commands_that_cannot_run_here_are_right(block: Block) -> None:
    assert [p for piece in pieces(block) for p in checked.problems(piece.code)] == []


@pytest.mark.parametrize(
    "block", [b for b in ALL if b.language == "yaml"], ids=lambda block: block.place
)
def test_configurations_have_keys_that_there_are(block: Block) -> None:
    assert checked.unknown_keys(block.text) == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_code_in_the_text_names_what_there_is(page: Path) -> None:
    """Commands of tools, and keys of a configuration, within sentences and tables."""
    wrong = []
    for code in inline_code(page):
        if found := re.match(r"(?:python -m )?tools ([a-z][\w-]*)", code):
            wrong += [code] if found.group(1) not in TOOLS else []
        if found := re.fullmatch(r"([a-z_]+(?:\.[a-z_]+)+)(?:[=:].*)?", code):
            key = found.group(1)
            if key.endswith(FILES):
                continue
            if key.split(".")[0] in Config.model_fields and not checked.has_key(key):
                wrong.append(code)
    assert wrong == []


def test_blocks_are_of_known_kinds() -> None:
    """What looks like a command is in a block that is run or checked."""
    wrong = [block.place for block in ALL if block.language not in LANGUAGES]
    wrong += [b.place for b in ALL if b.language == "text" and re.search(r"^\$ ", b.text, re.M)]
    consoles = [b for b in ALL if b.language == "console"]
    wrong += [b.place for b in consoles if not b.text.startswith(("$ ", "# needs: "))]
    assert wrong == []


@pytest.mark.parametrize(
    "mistake",
    [
        "python -m tools prepar mine --out x",
        "python -m tools prepare mine --out x --rations 1,0,0",
        "python -m train configs/none.yaml",
        "bash launch/run_distribute_8p.sh configs/quickstart.yaml model.dept=3",
        "bash launch/run_distribute_8p.sh configs/quickstart.yaml --max-restart 3",
        "sbatch --nodes=2 launch/slurm.sbatch configs/quickstart.yml",
        "bash launch/run_everything.sh",
        "kubectl apply -f launch/kubernetes/job.yaml",
        "X=1 msrun --worker_num 2 python -m train configs/quickstart.yaml schedule.step=3",
    ],
)
def test_a_wrong_command_is_found(mistake: str) -> None:
    assert checked.problems(mistake)


def test_a_wrong_key_is_found() -> None:
    right = "tasks: {a: {dataset: b, kind: scene}}\nloss: {balance: {rule: fixed, weights: {a: 1}}}"
    assert checked.unknown_keys(right) == []
    assert checked.unknown_keys(right.replace("kind", "type")) == ["tasks.a.type"]
    assert checked.unknown_keys("model: {depht: 3}") == ["model.depht"]

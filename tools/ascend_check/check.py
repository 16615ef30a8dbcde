"""A check of one configuration for one chip: data, processes, and what came of them."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.ascend import stand_in
from tests.ascend.stand_in.calls import Mark, Process, read_calls
from tools.ascend_check import probe, result
from tools.ascend_check.made_up import with_made_up_data
from tools.ascend_check.processes import run_probe
from tools.ascend_check.result import Result
from train.config.reader import dump_config
from train.config.schema import Config
from train.environment import visible_npus
from train.errors import UserError
from train.temporary import temporary_folder

# The toolkit of a user who has one sets it.
CANN = "ASCEND_HOME_PATH"


def has_cann(environment: Mapping[str, str]) -> bool:
    """Return whether a real CANN is there."""
    return CANN in environment


def check(config: Config, chip: str, ranks: int) -> Result:
    """Compile and run a few steps and an evaluation; say what they do.

    Args:
        config: Its data need not be here.
        chip: The chip that the stand-in shows. With a real CANN it is what that says.
        ranks: Number of ranks that the job seems to have.

    Raises:
        UserError: There is neither CANN nor what the stand-in needs.
    """
    with temporary_folder() as folder:
        return _check(config, chip, ranks, folder)


def _check(config: Config, chip: str, ranks: int, folder: Path) -> Result:
    log, out, output = folder / "log", folder / "facts.json", folder / "output"
    real = has_cann(os.environ)
    variables = _with_cann(ranks) if real else _with_stand_in(log, chip, ranks)
    variables |= {"MTLN_GRAPH_CACHE": "0"}
    file = folder / "config.yaml"
    file.write_text(dump_config(_a_few_steps(with_made_up_data(config, folder, ranks), folder)))
    ended = run_probe(file, out, output, variables, 1 if real else ranks)
    text = output.read_text(encoding="utf-8", errors="replace")
    facts: dict[str, Any] = json.loads(out.read_text()) if out.is_file() else {}
    errors = {part: _last_line(trace) for part, trace in facts.get("errors", {}).items()}
    if not facts:
        errors = {"start": f"{_last_line(text)} ({ended or 'no result'})"}
    calls = next((p for p in read_calls(log) if _is_probe(p)), Process(0, ()))
    return Result(
        "the CANN of this machine" if real else chip,
        config.jit_level,
        ranks,
        result.refused_operators(text),
        errors,
        result.work_of_steps(calls),
        result.work_of_batches(calls),
        result.messages_after_steps(calls),
        facts.get("memory"),
    )


def _with_stand_in(log: Path, chip: str, ranks: int) -> dict[str, str]:
    if (why := stand_in.problem()) is not None:
        raise UserError(f"{why}, and no CANN is here ({CANN} is not set)")
    built = stand_in.build()
    variables = built.environment(log, chip, devices=max(8, ranks), alone=True)
    return {**variables, probe.LIBRARY: str(built.library)}


def _with_cann(ranks: int) -> dict[str, str]:
    """Return the variables for the device of this machine, or MindSpore's dry run without one."""
    if visible_npus(os.environ):
        return {}
    return {"MS_SIMULATION_LEVEL": "1", "RANK_SIZE": str(ranks), "RANK_ID": "0"}


def _a_few_steps(config: Config, folder: Path) -> Config:
    schedule = {"steps": probe.STEPS, "consolidate_every": probe.STEPS}
    return config.model_copy(
        update={
            "device": "Ascend",
            "run_dir": folder / "run",
            "log_every": probe.STEPS,
            "init_from": None,
            "cache": "none",
            # Of the two graphs the one that is counted.
            "optimizer": config.optimizer.model_copy(update={"freeze_trunk": 0}),
            # One size: what is compiled for another one is the same.
            "image": config.image.model_copy(update={"stages": []}),
            "schedule": config.schedule.model_copy(update=schedule),
            "evaluate": config.evaluate.model_copy(update={"every": 0}),
            "checkpoint": config.checkpoint.model_copy(update={"every": 0}),
        }
    )


def _is_probe(process: Process) -> bool:
    return Mark("step 0") in process.calls or Mark("batch 0") in process.calls


def _last_line(text: str) -> str:
    """Return the line of a traceback that says what it was; MindSpore adds others below."""
    head = text.split("\n----")[0].rstrip().splitlines()
    return head[-1] if head else ""

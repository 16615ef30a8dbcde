"""What is checked before a job starts, or its plan is shown: :mod:`train.preflight.checks`."""

from collections.abc import Sequence

from launch.arguments import Arguments
from launch.plan.machine import Machine, count_devices
from launch.plan.placement import placement_of


def check_job(arguments: Arguments) -> Sequence[str]:
    """Check a job on the node that leads it; the others would keep that node waiting.

    Returns:
        What is allowed but may not be meant, a sentence each.

    Raises:
        UserError: It cannot run: one line for every mistake.
    """
    if arguments.config is None:
        return ()
    from train.preflight import checks
    from train.run import ownership

    config = arguments.config
    machine = count_devices()
    here, ranks, leads = _ranks(arguments, machine)
    if not leads and not arguments.dry_run:
        return ()
    on_cpu = config.device == "CPU" or not machine.npus
    notes = checks.check(config, ranks, here, on_cpu, arguments.dry_run)
    # First, for the next check may advise to remove the folder.
    if not arguments.dry_run:
        ownership.require_free(config.run_folder)
    if leads and not (arguments.dry_run and notes):
        checks.check_folder(config)
    return notes


def _ranks(arguments: Arguments, machine: Machine) -> tuple[int, int, bool]:
    """Return the ranks of this node, the fewest of the job, and whether this node leads it."""
    placement = placement_of(arguments.job, machine)
    others = placement.nnodes - 1
    if placement.nodes:
        ranks = sum(node.nproc for node in placement.nodes)
    else:  # in a plan the other machines are taken to be like this one
        ranks = placement.nproc + others * (placement.nproc if arguments.dry_run else 1)
    return placement.nproc, ranks, placement.node == 0

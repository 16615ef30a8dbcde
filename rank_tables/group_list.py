"""Template 2, the form in which ModelArts describes a job: groups of pods."""

import itertools
import re
from collections.abc import Sequence

from rank_tables import rules
from rank_tables.fields import Fields, ServerEntry, quoted
from rank_tables.server_list import read_server

# HCCL's limit for names.
_MAX_NAME = 127
# "tf-bae41" has none: these digits belong to a name made up at random.
_NUMBERED = re.compile(r"(?:.*-)?([0-9]{1,9})", re.DOTALL)


def read(root: Fields) -> list[ServerEntry]:
    """Check the groups, their pods, and the pods' devices; return the pods and number their ranks.

    The ranks follow the pods by the *number* at the end of their names (pod-10 after pod-2), as
    ModelArts' own launcher numbers them: that way the pod with index i, which ModelArts tells
    every container, holds the ranks of node i, whatever the addresses are. MindSpore's documents
    ask instead for the order of server_id as text, which is what HCCL makes of an unconverted
    template 2. Both work, as HCCL goes by rank_id, but only the first agrees with the node numbers
    that the job manager hands out, and with logs and restarts that go by them.
    """
    if "deploy_mode" in root.value:
        problem = "marks the laboratory form of template 2, which is not supported"
        root.wrong("deploy_mode", problem, "make a version 1.0 table (generate, merge)")
        return []
    groups = root.children("group_list", "groups")
    actual = root.length("group_list")
    root.count("group_count", actual, f"group_list has {actual}")
    pods = [pod for group in groups for pod in _read_group(group)]
    if groups and not pods and not root.report.violations:
        root.wrong("group_list", "no group has a device", "wait, or generate the table")
    # The pods on one server become one: they have to follow one another.
    runs = [next(run) for _, run in itertools.groupby(pods, lambda pod: pod.server_id)]
    for pod, _ in rules.repeated((pod.server_id, pod) for pod in runs):
        problem = f"{quoted(pod.server_id or '')} again, after a pod on another server"
        remedy = "number the pods server by server: HCCL wants the ranks of a server together"
        root.report.add(f"{pod.path}.server_id", problem, remedy)
    rules.check_devices(root.report, pods)
    rules.check_addresses(root.report, pods)
    for rank, device in enumerate(rules.devices_of(pods)):
        device.rank_id = rank
    return pods


def _pod_number(pod_name: str) -> int | None:
    """Return the number at the end of a pod's name: 10 of ``job-trainjob-10``."""
    match = _NUMBERED.fullmatch(pod_name)
    return int(match[1]) if match else None


def _read_group(group: Fields) -> list[ServerEntry]:
    """Return the pods of a group in the order of their ranks."""
    group.optional_texts("group_name")
    if group.value.get("device_count") == "0":
        return []  # a group of pods that only hold the job together
    pods = group.children("instance_list", "pods")
    pods.sort(key=lambda pod: _pod_number(str(pod.value.get("pod_name"))) or 0)
    servers = [read_server(pod, "devices", pod.children("devices", "devices")) for pod in pods]
    actual = group.length("instance_list")
    group.count("instance_count", actual, f"instance_list has {actual}")
    whole = all(server.whole for server in servers)
    devices = len(rules.devices_of(servers)) if whole else 0
    group.count("device_count", devices, f"instance_list has {devices}")
    _check_pod_names(pods)
    return servers


def _check_pod_names(pods: Sequence[Fields]) -> None:
    """Check that each pod has a number of its own: the ranks follow the numbers in the names."""
    first: dict[object, Fields] = {}
    for pod in pods:
        name = pod.text("pod_name", "write a name that ends in the number of the pod: job-0")
        if name is None:
            continue
        number = _pod_number(name)
        other = first.setdefault(name if number is None else number, pod)
        remedy = "number the pods -0, -1, ..."
        if len(name.encode()) > _MAX_NAME:
            pod.wrong("pod_name", f"longer than {_MAX_NAME} bytes", "shorten it")
        elif other is not pod:
            pod.wrong("pod_name", f"{quoted(name)} has the number of {other.path}", remedy)
        elif number is None and len(pods) > 1:
            problem = f"{quoted(name)} does not end in -NUMBER, so the order is unknown"
            pod.wrong("pod_name", problem, remedy)

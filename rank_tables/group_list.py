"""Rules of template 2, the form in which ModelArts describes a job: groups of pods."""

from __future__ import annotations

import re

from rank_tables.fields import Fields, quoted
from rank_tables.places import Machine, Place, check_addresses, check_devices
from rank_tables.report import Report
from rank_tables.server_list import read_device, read_server_id

# HCCL's limit for names.
_MAX_NAME = 127

# "tf-bae41" has none: these digits belong to a name made up at random.
_NUMBERED = re.compile(r"(?:.*-)?([0-9]{1,9})", re.DOTALL)


def pod_number(pod_name: str) -> int | None:
    """Returns the number at the end of a pod's name: 10 of ``job-trainjob-10``."""
    match = _NUMBERED.fullmatch(pod_name)
    return int(match[1]) if match else None


def check(root: Fields) -> None:
    """Checks the groups, their pods, and the pods' devices."""
    if root.has("deploy_mode"):
        problem = "marks the laboratory form of template 2, which is not supported"
        root.report.add("deploy_mode", problem, "make a version 1.0 table (generate, merge)")
        return
    groups = list(root.children("group_list", "groups"))
    _check_count(root, "group_count", root.length("group_list"), "group_list")
    machines = [machine for group in groups for machine in _read_group(group)]
    if groups and not machines and not root.report.violations:
        root.report.add("group_list", "no group has a device", "wait, or generate the table")
    _check_neighbours(root.report, machines)
    for machine in _by_server(machines):
        check_devices(root.report, machine)
    check_addresses(root.report, [place for machine in machines for place in machine.places])


def _check_count(fields: Fields, key: str, actual: int, what: str) -> None:
    remedy = f'write "{actual}"' if actual else "write the number, as a string"
    count = fields.decimal(key, remedy)
    if count is not None and actual and count != actual:
        fields.report.add(fields.at(key), f"{count}, but {what} has {actual}", remedy)


def _read_group(group: Fields) -> list[Machine]:
    """Returns the pods of a group in the order of their ranks."""
    group.text("group_name", "write a string, or leave it out", required=False)
    if group.value.get("device_count") == "0":
        return []  # a group of pods that only hold the job together
    pods = list(group.children("instance_list", "pods"))
    pods.sort(key=lambda pod: pod_number(str(pod.value.get("pod_name"))) or 0)
    machines = [_read_pod(pod) for pod in pods]
    _check_count(group, "instance_count", group.length("instance_list"), "instance_list")
    places = sum(len(machine.places) for machine in machines)
    whole = all(machine.whole for machine in machines)
    _check_count(group, "device_count", places if whole else 0, "instance_list")
    _check_pod_names(pods)
    return machines


def _read_pod(pod: Fields) -> Machine:
    machine = Machine(pod.path, read_server_id(pod))
    for device in pod.children("devices", "devices"):
        machine.places.append(Place(device.path, *read_device(device)))
    machine.whole = pod.length("devices") == len(machine.places) > 0
    return machine


def _check_pod_names(pods: list[Fields]) -> None:
    """The ranks follow the numbers in the names, so each pod needs one of its own."""
    first: dict[object, Fields] = {}
    for pod in pods:
        name = pod.text("pod_name", "write a name that ends in the number of the pod: job-0")
        if name is None:
            continue
        number = pod_number(name)
        other = first.setdefault(name if number is None else number, pod)
        if len(name.encode()) > _MAX_NAME:
            pod.report.add(pod.at("pod_name"), f"longer than {_MAX_NAME} bytes", "shorten it")
        elif other is not pod:
            problem = f"{quoted(name)} has the number of {other.path}"
            pod.report.add(pod.at("pod_name"), problem, "number the pods -0, -1, ...")
        elif number is None and len(pods) > 1:
            problem = f"{quoted(name)} does not end in -NUMBER, so the order is unknown"
            pod.report.add(pod.at("pod_name"), problem, "number the pods -0, -1, ...")


def _check_neighbours(report: Report, machines: list[Machine]) -> None:
    """Pods on one server become one server; their ranks have to follow one another."""
    seen: list[str | None] = []
    for machine in machines:
        server = machine.server_id
        if server is not None and server in seen[:-1] and server != seen[-1]:
            problem = f"{quoted(server)} again, after a pod on another server"
            remedy = "number the pods server by server: HCCL wants the ranks of a server together"
            report.add(f"{machine.path}.server_id", problem, remedy)
        seen.append(server)


def _by_server(machines: list[Machine]) -> list[Machine]:
    servers: dict[object, Machine] = {}
    for machine in machines:
        key = machine.path if machine.server_id is None else machine.server_id
        server = servers.setdefault(key, Machine(machine.path, machine.server_id))
        server.places += machine.places
    return list(servers.values())

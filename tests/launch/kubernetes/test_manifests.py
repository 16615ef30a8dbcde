"""The manifests: what Kubernetes takes, and what the image and the launcher make of it."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from launch.arguments import parse
from launch.job import Job
from tests.launch.kubernetes.containers import operator_variables, volcano_variables
from tests.paths import ROOT
from train.config.reader import load_config
from train.config.schema import Config
from train.storage.connection import Connection

FOLDER = ROOT / "launch/kubernetes"
# The oldest and the newest Kubernetes that these are to run on.
VERSIONS = ("1.25", "1.37")
# Fields of the two kinds beside the pod templates, with what they may be. From the definitions in
# mind-cluster (component/ascend-operator/build/ascend-operator.yaml, August 2026) and in Volcano
# (config/crd/volcano/bases/batch.volcano.sh_jobs.yaml); both were also applied as a whole, by hand.
ASCEND_JOB = {
    "schedulerName": str,
    "successPolicy": str,
    "runPolicy": {"schedulingPolicy": {"minAvailable": int, "queue": str}, "backoffLimit": int},
    "replicaSpecs": {
        role: {"replicas": int, "restartPolicy": str, "template": dict}
        for role in ("Scheduler", "Worker")
    },
}
VOLCANO_JOB = {
    "schedulerName": str,
    "queue": str,
    "minAvailable": int,
    "maxRetry": int,
    "plugins": {"env": list, "svc": list},
    "policies": [{"event": str, "action": str}],
    "tasks": [{"name": str, "replicas": int, "template": dict}],
}

Manifest = dict[str, Any]


def read(name: str) -> Manifest:
    return dict(yaml.safe_load((FOLDER / name).read_text()))


def one_node(manifest: Manifest) -> Manifest:
    """What the comment at the top of the AscendJob says of one node."""
    manifest["spec"]["runPolicy"]["schedulingPolicy"]["minAvailable"] = 1
    del manifest["spec"]["replicaSpecs"]["Worker"]
    return manifest


JOBS = {
    "AscendJob": lambda: read("ascend_job.yaml"),
    "AscendJob of one node": lambda: one_node(read("ascend_job.yaml")),
    "Volcano": lambda: read("volcano_job.yaml"),
}


@pytest.fixture(params=list(JOBS))
def manifest(request: pytest.FixtureRequest) -> Manifest:
    return JOBS[request.param]()


def groups(manifest: Manifest) -> list[Manifest]:
    """The groups of containers of a job, each with its number and template."""
    spec = manifest["spec"]
    return list(spec["replicaSpecs"].values()) if "replicaSpecs" in spec else list(spec["tasks"])


def pods(manifest: Manifest) -> list[Manifest]:
    return [group["template"]["spec"] for group in groups(manifest)]


def nnodes(manifest: Manifest) -> int:
    return sum(group["replicas"] for group in groups(manifest))


def variables(manifest: Manifest, number: int) -> dict[str, str]:
    """What one of its containers is told by those who start it."""
    if manifest["kind"] == "AscendJob":
        return operator_variables(number, nnodes(manifest), 8)
    return volcano_variables(number, nnodes(manifest))


def complaints(value: object, allowed: Any, where: str = "spec") -> list[str]:
    """Fields that are not allowed, or of another type."""
    if isinstance(allowed, type):
        return [] if type(value) is allowed else [f"{where}: {value!r}"]
    if isinstance(allowed, list):
        items = enumerate(value) if isinstance(value, list) else []
        return [c for i, item in items for c in complaints(item, allowed[0], f"{where}[{i}]")]
    found: list[str] = []
    for name, child in value.items() if isinstance(value, dict) else []:
        known = name in allowed
        found += complaints(child, allowed[name], f"{where}.{name}") if known else [name]
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_pods_and_claim_are_valid(manifest: Manifest, version: str) -> None:
    for group in groups(manifest):
        template = group["template"]
        metadata = {"name": "pod", **template["metadata"]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        kubernetes_validate.validate(pod, version, strict=True)
    kubernetes_validate.validate(read("storage.yaml"), version, strict=True)


def test_fields_around_the_pods(manifest: Manifest) -> None:
    spec = manifest["spec"]
    if manifest["kind"] == "AscendJob":
        assert manifest["apiVersion"] == "mindxdl.gitee.com/v1"
        assert complaints(spec, ASCEND_JOB) == []
        assert spec["runPolicy"]["schedulingPolicy"]["minAvailable"] == nnodes(manifest)
        assert manifest["metadata"]["labels"]["framework"] == "mindspore"
        assert spec["replicaSpecs"]["Scheduler"]["replicas"] == 1  # the operator takes no other
        assert all(pod["containers"][0]["name"] == "ascend" for pod in pods(manifest))
    else:
        assert (manifest["apiVersion"], manifest["kind"]) == ("batch.volcano.sh/v1alpha1", "Job")
        assert complaints(spec, VOLCANO_JOB) == []
        assert spec["minAvailable"] == nnodes(manifest)
        assert [task["name"] for task in spec["tasks"]] == ["worker"]
    product = manifest["metadata"]["labels"]["ring-controller.atlas"]
    for group in groups(manifest):
        assert group["template"]["metadata"]["labels"] == {"ring-controller.atlas": product}


def test_both_jobs_run_the_same_container() -> None:
    """Except for the ports, of which Volcano's needs none."""
    [volcano], [ascend, _] = pods(read("volcano_job.yaml")), pods(read("ascend_job.yaml"))
    assert volcano.pop("restartPolicy") == "Never"
    assert ascend["containers"][0].pop("ports") == [
        {"name": "ascendjob-port", "containerPort": 2222}
    ]
    assert volcano == ascend


def launched(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch, number: int = 0
) -> tuple[Job, Config]:
    """The job that a container's launcher makes of its arguments, and its configuration."""
    [container] = pods(manifest)[0]["containers"]
    monkeypatch.chdir(ROOT)  # as the image's WORKDIR
    for name, value in variables(manifest, number).items():
        monkeypatch.setenv(name, value)
    job = parse(container["args"]).job
    # Python, -m, train, and what that takes.
    _, _, _, config, *overrides = job.worker_command
    return job, load_config(Path(config), overrides)


def test_arguments_are_those_of_the_launcher(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = nnodes(manifest) - 1
    job, config = launched(manifest, monkeypatch, last)
    assert (job.nnodes, job.node_rank) == (last + 1, last)
    assert config.device == "Ascend"
    assert job.node_timeout > 600  # the launcher's own patience is too short to pull an image


def test_kubernetes_waits_for_the_last_save_and_upload(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, config = launched(manifest, monkeypatch)
    needed = job.grace + config.storage.resolved({}).upload_seconds
    assert all(pod["terminationGracePeriodSeconds"] > needed for pod in pods(manifest))


def test_data_and_runs_are_on_the_claim(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    [folder] = set(re.findall(r"^WORKDIR (.+)$", (ROOT / "Dockerfile").read_text(), re.M))
    job, config = launched(manifest, monkeypatch)
    for pod in pods(manifest):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        claim = volumes["storage"]["persistentVolumeClaim"]["claimName"]
        assert claim == read("storage.yaml")["metadata"]["name"]
        mounts = pod["containers"][0]["volumeMounts"]
        assert {mount["name"] for mount in mounts} == set(volumes)
        stored = [mount["mountPath"] for mount in mounts if mount["name"] == "storage"]
        records = (data.records for data in config.datasets.values())
        for path in (job.run_dir, *records):
            assert any(Path(folder, path).is_relative_to(mount) for mount in stored), path
        by_name = {mount["name"]: mount["mountPath"] for mount in mounts}
        assert by_name["shm"] == "/dev/shm"
        assert volumes["shm"]["emptyDir"]["medium"] == "Memory"
        env = {v["name"]: v["value"] for v in pod["containers"][0]["env"] if "value" in v}
        assert config.storage.cache_folder(env) == Path(by_name["cache"])


def test_npus_asked_for_are_those_that_the_runtime_brings_in(manifest: Manifest) -> None:
    for pod in pods(manifest):
        [container] = pod["containers"]
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        [npu] = [name for name in requests if name.startswith("huawei.com/")]
        assert requests[npu] == limits[npu] == 8
        [visible] = [v for v in container["env"] if v["name"] == "ASCEND_VISIBLE_DEVICES"]
        field = visible["valueFrom"]["fieldRef"]["fieldPath"]
        assert field == f"metadata.annotations['{npu}']"


def test_the_image_takes_the_arguments(manifest: Manifest) -> None:
    """Its entry point, which no command in a manifest replaces, with the container's variables."""
    [container] = pods(manifest)[0]["containers"]
    assert "command" not in container
    ended = subprocess.run(
        # What is here of the data is looked at, and the volume is not here.
        [
            *("bash", str(ROOT / "launch/entrypoint.sh"), *container["args"]),
            *("data_root=s3://bucket/data", "--dry-run"),
        ],
        env={"PATH": "/usr/bin:/bin", "MTLN_PYTHON": sys.executable, **variables(manifest, 0)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    assert "run_dir=runs/mtln" in ended.stdout


def test_commands_name_files_jobs_and_containers_that_are_there() -> None:
    text = "".join(path.read_text() for path in FOLDER.iterdir() if path.is_file())
    assert all((ROOT / file).is_file() for file in re.findall(r"(?<=-f )launch/\S+?(?=`|\s)", text))
    jobs = {read(name)["metadata"]["name"] for name in ("ascend_job.yaml", "volcano_job.yaml")}
    assert set(re.findall(r"kubectl \w+ (?:acjob|vcjob) (\w+)", text)) == jobs == {"mtln"}
    # Both name a container JOB-ROLE-NUMBER, in lower case.
    logs = set(re.findall(r"kubectl logs -f ([\w-]+)", text))
    assert logs == {"mtln-scheduler-0", "mtln-worker-0"}


def test_secret_has_names_that_the_job_reads(manifest: Manifest) -> None:
    text = (FOLDER / "README.md").read_text()
    secret = re.findall(r"kubectl create secret generic (\S+)", text)
    variables = dict.fromkeys(re.findall(r"--from-literal=(\w+)", text), "x")
    for pod in pods(manifest):
        [source] = pod["containers"][0]["envFrom"]
        assert [source["secretRef"]["name"]] == secret
    connection = Connection.read("obs", variables)
    assert connection.region == "x"
    assert connection.key == connection.secret == "x"

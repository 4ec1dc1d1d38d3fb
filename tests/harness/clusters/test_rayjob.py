"""docs/clusters/rayjob.yaml has only fields that KubeRay publishes, and calls what exists."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from toys import ROOT

from harness.cli import main

FOLDER = ROOT / "docs" / "clusters"

# The fields of KubeRay's API reference, ray.io/v1, as far as a job of ours may use them.
_JOB = {
    "entrypoint", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "activeDeadlineSeconds", "backoffLimit",
    "jobId", "runtimeEnvYAML", "rayClusterSpec", "submitterPodTemplate", "submissionMode", "suspend", "metadata",
    "managedBy", "clusterSelector", "submitterConfig", "deletionStrategy", "entrypointNumCpus", "entrypointNumGpus",
    "entrypointResources",
}  # fmt: skip
_CLUSTER = {
    "rayVersion", "enableInTreeAutoscaling", "autoscalerOptions", "headGroupSpec", "workerGroupSpecs", "suspend",
    "managedBy", "headServiceAnnotations", "gcsFaultToleranceOptions",
}  # fmt: skip
_AUTOSCALER = {
    "idleTimeoutSeconds", "upscalingMode", "resources", "image", "imagePullPolicy", "securityContext", "version", "env",
    "envFrom", "volumeMounts",
}  # fmt: skip
_HEAD = {"template", "headService", "enableIngress", "rayStartParams", "serviceType"}
_WORKERS = {
    "groupName", "suspend", "replicas", "minReplicas", "maxReplicas", "idleTimeoutSeconds", "rayStartParams",
    "template", "scaleStrategy", "numOfHosts",
}  # fmt: skip
_POD = {"serviceAccountName", "restartPolicy", "containers", "nodeSelector", "tolerations", "volumes"}
_CONTAINER = {"name", "image", "env", "resources", "command", "args", "volumeMounts", "ports", "imagePullPolicy"}


def unknown_fields(job: dict[str, Any]) -> list[str]:
    """Return the fields of a RayJob that KubeRay would not know."""
    spec, found = job["spec"], []

    def check(name: str, value: dict[str, Any], known: set[str]) -> None:
        found.extend(f"{name}.{key}" for key in value if key not in known)

    def check_pod(name: str, template: dict[str, Any]) -> None:
        check(name, template, {"spec", "metadata"})
        check(f"{name}.spec", template["spec"], _POD)
        for container in template["spec"]["containers"]:
            check(f"{name}.{container['name']}", container, _CONTAINER)

    check("job", job, {"apiVersion", "kind", "metadata", "spec"})
    check("spec", spec, _JOB)
    check_pod("submitter", spec["submitterPodTemplate"])
    cluster = spec["rayClusterSpec"]
    check("cluster", cluster, _CLUSTER)
    check("autoscaler", cluster["autoscalerOptions"], _AUTOSCALER)
    check("head", cluster["headGroupSpec"], _HEAD)
    check_pod("head", cluster["headGroupSpec"]["template"])
    for group in cluster["workerGroupSpecs"]:
        check(group["groupName"], group, _WORKERS)
        check_pod(group["groupName"], group["template"])
    return found


def test_the_rayjob_has_only_fields_that_kuberay_publishes() -> None:
    job = yaml.safe_load((FOLDER / "rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert unknown_fields(job) == []
    group = job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    (container,) = group["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]
    assert head["rayStartParams"] == {"num-cpus": "0", "num-gpus": "0"}


@pytest.mark.parametrize(
    ("old", "unknown"),
    [
        ("shutdownAfterJobFinishes", "spec.shutdownAfterJobFinish"),
        ("rayVersion", "cluster.rayVersio"),
        ("maxReplicas", "gpu-worker.maxReplica"),
        ("serviceAccountName", "head.spec.serviceAccountNam"),
    ],
)
def test_a_typo_in_the_rayjob_is_found(old: str, unknown: str) -> None:
    text = (FOLDER / "rayjob.yaml").read_text()
    typo = unknown.rpartition(".")[2]
    assert unknown in unknown_fields(yaml.safe_load(text.replace(f"{old}:", f"{typo}:", 1)))


def test_the_rayjobs_entrypoint_is_a_call_that_splitbench_takes() -> None:
    words = yaml.safe_load((FOLDER / "rayjob.yaml").read_text())["spec"]["entrypoint"].split()
    assert words[0] == "splitbench"
    results = words.index("--results")
    del words[results : results + 2]
    result = CliRunner().invoke(main, [*words[1:], "--results", "results/none", "--dry-run"])
    assert result.exit_code == 0, result.output

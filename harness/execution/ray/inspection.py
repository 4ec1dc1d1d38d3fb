"""Inspect every machine of a Ray cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray
from ray import exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from harness.machines.doctor import Diagnosis, Finding, diagnose_cluster
from harness.machines.node_facts import NodeFacts, node_facts
from splitters.errors import ConfigurationError

_SECONDS = 180.0
"""A machine that takes longer to answer is taken for broken; its worker may have an environment to install first."""


def inspect_cluster(cache: Path, *, results: str | None = None) -> Diagnosis:
    """Look at the driver's machine and at all others of the cluster that this process is connected to.

    Args:
        cache: The cache folder, on every machine.
        results: Folder or URI of results to try. The driver alone writes rows, so others try a URI only.
    """
    here, machines = _machines()
    address = next((node["NodeManagerAddress"] for node in machines if node["NodeID"] == here), "here")
    shared = results if results is not None and "://" in results else None
    others = [node for node in machines if node["NodeID"] != here]
    pending = [(node["NodeManagerAddress"], _ask(node, cache, shared)) for node in others]
    facts, unreachable = [node_facts(cache, address=address, results=results)], []
    for other, answer in pending:
        found = _answer(other, answer)
        if isinstance(found, Finding):
            unreachable.append(found)
        else:
            facts.append(found)
    return diagnose_cluster(facts, unreachable)


def require_alike(cache: Path) -> None:
    """Check that all machines of the cluster run the same versions.

    Args:
        cache: The cache folder, on every machine.

    Raises:
        ConfigurationError: If they do not, or one cannot be looked at.
    """
    here, machines = _machines()
    if all(node["NodeID"] == here for node in machines):
        return
    serious = [finding for finding in inspect_cluster(cache).findings if finding.serious]
    if serious:
        problems = "\n".join(f"  {finding.text}\n    {finding.remedy}" for finding in serious)
        raise ConfigurationError(
            f"the cluster's machines are not fit for a run:\n{problems}\n"
            "'splitbench doctor --address ADDR' shows everything; --force runs nevertheless."
        )


def _machines() -> tuple[str, list[dict[str, Any]]]:
    """Return the id of the driver's machine, and all machines that are up."""
    alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    return str(ray.get_runtime_context().get_node_id()), alive


def _ask(node: dict[str, Any], cache: Path, results: str | None) -> Any:
    strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    options: dict[str, Any] = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": strategy}
    look: Any = ray.remote(**options)(node_facts)
    return look.remote(cache, address=node["NodeManagerAddress"], results=results)


def _answer(address: str, answer: Any) -> NodeFacts | Finding:
    try:
        facts: NodeFacts = ray.get(answer, timeout=_SECONDS)
    except exceptions.RayError as error:
        reason = next(
            (line for line in reversed(str(error).strip().splitlines()) if line.strip()), type(error).__name__
        )
        return Finding(
            f"{address}: it could not be looked at: {reason.strip()}",
            "Splitbench and its dependencies must be there; 'splitbench submit' ships this checkout.",
        )
    return facts

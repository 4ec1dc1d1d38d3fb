"""Whether this machine or a cluster is ready for work: what is missing, what differs, and the remedy."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.machines.node_facts import NodeFacts, node_facts

_ENOUGH_DISK_BYTES = 5 << 30

COMPARED = {
    "splitbench": "Splitbench",
    "commit": "Splitbench's commit",
    "python": "Python",
    "ray": "Ray",
    "torch": "torch",
    "cuda": "CUDA",
}
"""Facts that must be equal on all machines, with their names on screen."""


@dataclass(frozen=True)
class Finding:
    """A problem.

    Args:
        text: What is wrong.
        remedy: What to do about it.
        serious: Whether it should be fixed before work begins.
    """

    text: str
    remedy: str
    serious: bool = True


@dataclass(frozen=True)
class Diagnosis:
    """The state of one or more machines.

    Args:
        nodes: The machines that answered, this one first.
        findings: Their problems.
    """

    nodes: tuple[NodeFacts, ...]
    findings: tuple[Finding, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether there is no serious problem."""
        return not any(finding.serious for finding in self.findings)


def diagnose_installation(cache: Path, *, results: str | None = None) -> Diagnosis:
    """Return the state of this machine.

    Args:
        cache: The cache folder.
        results: Folder or URI of results to write to and read from.
    """
    facts = node_facts(cache, address="here", results=results)
    return Diagnosis((facts,), (*_findings_on(facts), *_for_clusters()))


def diagnose_cluster(nodes: Sequence[NodeFacts], unreachable: Sequence[Finding] = ()) -> Diagnosis:
    """Return the state of a cluster.

    Args:
        nodes: All machines that answered, the driver's first.
        unreachable: Why other machines did not answer.
    """
    own = [finding for facts in nodes for finding in _findings_on(facts)]
    return Diagnosis(tuple(nodes), (*unreachable, *mismatches(nodes), *own))


def mismatches(nodes: Sequence[NodeFacts]) -> list[Finding]:
    """Return what differs between machines but must not."""
    found = []
    for field, name in COMPARED.items():
        where: dict[str, list[str]] = {}
        for facts in nodes:
            where.setdefault(str(getattr(facts, field)), []).append(facts.address or facts.hostname)
        if len(where) > 1:
            values = "; ".join(f"{value} on {', '.join(addresses)}" for value, addresses in where.items())
            found.append(
                Finding(
                    f"{name} differs between machines: {values}.",
                    "Install the same on all of them (setup_commands of the cluster's file; 'splitbench submit' ships "
                    "this checkout), or continue anyway with --force.",
                )
            )
    return found


def _findings_on(facts: NodeFacts) -> list[Finding]:
    where = facts.address or facts.hostname
    found = []
    if facts.torch is None:
        found.append(Finding(f"{where}: torch is not installed.", "Type: pip install torch torchvision"))
    if facts.ray is None:
        found.append(Finding(f"{where}: Ray is not installed.", "Type: pip install 'ray[tune]'"))
    if facts.gpus and facts.torch is not None and facts.cuda is None:
        found.append(
            Finding(
                f"{where}: there is a GPU ({facts.gpus[0].name}), but torch {facts.torch} was built without CUDA.",
                "Install a torch for your CUDA: https://pytorch.org/get-started/locally",
            )
        )
    if facts.cache_trouble:
        found.append(
            Finding(
                f"{where}: the cache folder {facts.cache} cannot be written to: {facts.cache_trouble}.",
                "Name another one with the environment variable SPLITBENCH_CACHE.",
            )
        )
    elif facts.disk_free_bytes < _ENOUGH_DISK_BYTES:
        free = facts.disk_free_bytes / (1 << 30)
        found.append(
            Finding(
                f"{where}: {free:.1f} GB are free on the disk of the cache ({facts.cache}).",
                "Decoded data and trained weights may need more: name another folder with SPLITBENCH_CACHE.",
                serious=False,
            )
        )
    if facts.results_trouble:
        found.append(
            Finding(
                f"{where}: the results cannot be written and read back: {facts.results_trouble}",
                "Check the address and this machine's rights to it.",
            )
        )
    return found


def _for_clusters() -> list[Finding]:
    """Return what is missing for clusters of several machines, which not everyone needs."""
    found = []
    # Part of ray[default]: the dashboard, which takes the jobs of 'splitbench submit'.
    if any(importlib.util.find_spec(name) is None for name in ("aiohttp", "aiohttp_cors")):
        found.append(
            Finding(
                "Ray's jobs and dashboard are not installed, which 'splitbench submit' needs.",
                "Type: pip install 'ray[default,tune]'",
                serious=False,
            )
        )
    missing = [program for program in ("ssh", "rsync") if shutil.which(program) is None]
    if missing:
        found.append(
            Finding(
                f"'ray up' needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed.",
                f"Type, on Debian or Ubuntu: apt-get install {' '.join(missing)}",
                serious=False,
            )
        )
    return found

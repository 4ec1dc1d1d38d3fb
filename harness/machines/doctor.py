"""Whether work can be done here or on a cluster: what is missing, what differs between machines, and the way out."""

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
"""What must be the same on all machines, and what it is called."""


@dataclass(frozen=True)
class Finding:
    """Something that a user should know.

    Args:
        text: What it is.
        remedy: The way out.
        serious: Whether work should not begin before it is put right.
    """

    text: str
    remedy: str
    serious: bool = True


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Args:
        nodes: The machines that answered, this one first.
        findings: What is wrong or missing.
    """

    nodes: tuple[NodeFacts, ...]
    findings: tuple[Finding, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether nothing serious was found."""
        return not any(finding.serious for finding in self.findings)


def diagnose_installation(cache: Path, *, results: str | None = None) -> Diagnosis:
    """Looks at this machine.

    Args:
        cache: The cache folder.
        results: Folder or URI of results to try.
    """
    facts = node_facts(cache, address="here", results=results)
    return Diagnosis((facts,), (*_own_findings(facts), *_for_clusters()))


def diagnose_cluster(nodes: Sequence[NodeFacts], unreachable: Sequence[Finding] = ()) -> Diagnosis:
    """Compares the machines of a cluster.

    Args:
        nodes: All machines that answered, that of the driver first.
        unreachable: What kept others from answering.
    """
    own = [finding for facts in nodes for finding in _own_findings(facts)]
    return Diagnosis(tuple(nodes), (*unreachable, *mismatches(nodes), *own))


def mismatches(nodes: Sequence[NodeFacts]) -> list[Finding]:
    """Returns what differs between machines and must not."""
    found = []
    for field, name in COMPARED.items():
        where: dict[str, list[str]] = {}
        for facts in nodes:
            where.setdefault(str(getattr(facts, field)), []).append(facts.address or facts.hostname)
        if len(where) > 1:
            told = "; ".join(f"{value} on {', '.join(addresses)}" for value, addresses in where.items())
            found.append(
                Finding(
                    f"{name} differs between machines: {told}.",
                    "Install the same on all of them (setup_commands of the cluster's file; 'splitbench submit' ships "
                    "this checkout), or go on nevertheless with --force.",
                )
            )
    return found


def _own_findings(facts: NodeFacts) -> list[Finding]:
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
                f"{where}: {free:.1f} GB are free where the cache lies ({facts.cache}).",
                "Decoded data and trained weights may need more: name another place with SPLITBENCH_CACHE.",
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
    """Returns what is missing for clusters of several machines, which not everybody needs."""
    found = []
    # What ray[default] adds to ray: the dashboard, and with it the jobs that 'splitbench submit' makes.
    if any(importlib.util.find_spec(name) is None for name in ("aiohttp", "aiohttp_cors")):
        found.append(
            Finding(
                "Ray's jobs and dashboard are not installed, which 'splitbench submit' needs.",
                "Type: pip install 'splitbench[cluster]' (in a checkout: pip install -e '.[cluster]')",
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

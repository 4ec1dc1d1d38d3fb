"""Cluster files: what ``ray up`` takes, plus the notes that Splitbench keeps in their metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from harness.clusters.ray_checks import complete, sizes_come_from_the_cloud
from harness.config.yaml_source import read_text, read_yaml, yaml_1_1_differences
from splitters.errors import ConfigurationError, UnknownNameError
from splitters.settings import Settings

PLACEHOLDER = "YOUR"
"""Begins the words in our files that users must replace."""

_TOKEN = "RAY_AUTH_MODE=token"
_HEAD, _WORKER = "head", "worker"


class ClusterNotes(Settings):
    """The section ``metadata.splitbench`` of a cluster file, which Ray ignores.

    Args:
        results: Folder or URI of the results; each suite gets a folder in it.
        currency: Currency of the prices.
        price_per_hour: Price by node type; for the provider ``local``, the types are ``head`` and ``worker``.
        environment: Virtual environment on the machines; by default, the ``ray`` and ``python`` on their path.
        gpus_per_worker: GPUs of each machine, for the provider ``local``, whose files do not state it.
        cpus_per_worker: CPUs of each machine, likewise.
        dashboard_port: Port of the head's dashboard, which takes jobs.
    """

    explained_in = "docs/clusters/README.md"

    results: str | None = None
    currency: str = "USD"
    price_per_hour: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    environment: str = Field(default="", pattern=r"^[\w./~-]*$")
    gpus_per_worker: int | None = Field(default=None, ge=0)
    cpus_per_worker: int | None = Field(default=None, ge=1)
    dashboard_port: int = Field(default=8265, ge=1, le=65535)


@dataclass(frozen=True)
class NodeType:
    """A type of machine.

    Args:
        name: Name in the file.
        cpus: CPUs of each machine that Ray gives to work; None if unknown.
        gpus: GPUs of each machine, likewise.
        most: Maximum number of machines.
        price: Price of one machine per hour; None if unknown.
    """

    name: str
    cpus: int | None
    gpus: int | None
    most: int
    price: float | None


@dataclass(frozen=True)
class ClusterFile:
    """A cluster as its file describes it.

    Args:
        path: The file.
        provider: Ray's name of the provider of the machines.
        head: The head's type.
        workers: The workers' types.
        notes: Splitbench's section of the file.
        has_token: Whether the cluster requires Ray's token.
    """

    path: Path
    provider: str
    head: NodeType
    workers: tuple[NodeType, ...]
    notes: ClusterNotes
    has_token: bool = False

    def require_filled_in(self) -> None:
        """Raise ConfigurationError if a placeholder is left."""
        for number, line in enumerate(self.path.read_text(encoding="utf-8").splitlines(), start=1):
            content = line.partition("#")[0]
            if f"{PLACEHOLDER}-" in content:
                raise ConfigurationError(
                    f"{self.path}, line {number}: {content.strip()!r} is still to be filled in; "
                    f"replace {PLACEHOLDER}-... with a value of your own."
                )


def read_cluster_file(path: Path | str) -> ClusterFile:
    """Read and check a cluster file.

    Raises:
        ConfigurationError: If it cannot be read, a key is unknown, or Ray would refuse it.
    """
    path = Path(path)
    text = read_text(path, kind="cluster's file")
    values, source = read_yaml(text, name=str(path))
    if not isinstance(values, dict):
        raise ConfigurationError(f"{path}: a cluster's file is a mapping; see cluster.yaml for one.")
    for line, spelling, meaning in yaml_1_1_differences(text):
        raise ConfigurationError(
            f"{path}, line {line}: {spelling} is {meaning} to Ray, which reads YAML 1.1; "
            f"quote it if it is text: '{spelling}'; otherwise write it in another way."
        )
    values = complete(values, source)
    section = ("metadata", "splitbench")
    notes = ClusterNotes.parse(_notes(values), where=".".join(section), origin=source, at=section)
    head, workers = _node_types(values, notes)
    known = {head.name, *(worker.name for worker in workers)}
    for name in notes.price_per_hour:
        if name not in known:
            raise UnknownNameError("node type", name, known, where=f"{source.name}: metadata.splitbench.price_per_hour")
    has_token = any(_TOKEN in line for line in values.get("head_start_ray_commands", []))
    return ClusterFile(path, str(values["provider"]["type"]), head, workers, notes, has_token)


def _notes(values: Mapping[str, Any]) -> Mapping[str, Any]:
    notes = values.get("metadata", {}).get("splitbench", {})
    return notes if isinstance(notes, Mapping) else {"results": notes}


def _node_types(values: Mapping[str, Any], notes: ClusterNotes) -> tuple[NodeType, tuple[NodeType, ...]]:
    if values["provider"]["type"] == "local":
        return _local_node_types(values, notes)
    kinds, head = values["available_node_types"], str(values["head_node_type"])
    most = {name: int(min(values["max_workers"], kind["max_workers"])) for name, kind in kinds.items()}
    from_cloud = sizes_come_from_the_cloud(values)

    def node_type(name: str, count: int) -> NodeType:
        resources = kinds[name]["resources"]
        # Ray counts the CPUs and GPUs that a machine has where the file states neither.
        cpus, gpus = resources.get("CPU"), resources.get("GPU", None if from_cloud or "CPU" not in resources else 0)
        return NodeType(name, _whole(cpus), _whole(gpus), count, notes.price_per_hour.get(name))

    # Workers may be of the head's type, if the file allows any.
    workers = (node_type(name, count) for name, count in most.items() if name != head or count)
    return node_type(head, 1), tuple(workers)


def _whole(number: float | None) -> int | None:
    """Return a number that Ray takes for an integer as one: 2.0 is allowed."""
    return None if number is None else int(number)


def _local_node_types(values: Mapping[str, Any], notes: ClusterNotes) -> tuple[NodeType, tuple[NodeType, ...]]:
    def node_type(name: str, most: int) -> NodeType:
        return NodeType(name, notes.cpus_per_worker, notes.gpus_per_worker, most, notes.price_per_hour.get(name))

    return node_type(_HEAD, 1), (node_type(_WORKER, values["max_workers"]),)

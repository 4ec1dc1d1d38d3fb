"""A file that ``ray up`` takes: checked as Ray checks it, and what Splitbench keeps in its metadata slot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from harness.config.yaml_source import Source, read_text, read_yaml, yaml_1_1_differences
from splitters.errors import ConfigurationError, UnknownNameError
from splitters.settings import Settings

PLACEHOLDER = "YOUR"
"""What stands in our files where users must write something of their own."""

_TOKEN = "RAY_AUTH_MODE=token"
_HEAD, _WORKER = "head", "worker"
_CHECKED_PROVIDERS = ("aws", "gcp", "local")
"""Providers whose keys are all in Ray's schema, which itself lets any key pass there."""

_TAKEN_OUT = ("min_workers", "head_node", "worker_nodes")
"""Keys of old that are not in Ray's schema: Ray takes the first one out, and the others where they are empty."""


class ClusterNotes(Settings):
    """What ``metadata.splitbench`` of a cluster's file holds; Ray does not look at it.

    Args:
        results: Folder or URI of the results; each suite gets a folder in it.
        currency: Of the prices.
        price_per_hour: By node type; for the provider ``local``, by ``head`` and ``worker``.
        environment: The virtual environment on the nodes; by default their own ``ray`` and ``python`` are taken.
        gpus_per_worker: For the provider ``local``, whose file does not say it.
        cpus_per_worker: The same for CPUs.
        dashboard_port: Where the head's dashboard listens, which takes jobs.
    """

    results: str | None = None
    currency: str = "USD"
    price_per_hour: dict[str, float] = Field(default_factory=dict)
    environment: str = Field(default="", pattern=r"^[\w./~-]*$")
    gpus_per_worker: int = Field(default=0, ge=0)
    cpus_per_worker: int | None = Field(default=None, ge=1)
    dashboard_port: int = Field(default=8265, ge=1, le=65535)


@dataclass(frozen=True)
class NodeType:
    """A kind of machine.

    Args:
        name: Its name in the file.
        cpus: CPUs that Ray gives to work; None where the file does not say it.
        gpus: GPUs of each, likewise.
        most: How many there may be.
        price: Per hour and machine, if the file says it.
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
        provider: Ray's name of who gives the machines.
        head: The head.
        workers: The kinds of workers.
        notes: What Splitbench keeps in the file.
        has_token: Whether Ray's token guards it.
    """

    path: Path
    provider: str
    head: NodeType
    workers: tuple[NodeType, ...]
    notes: ClusterNotes
    has_token: bool = False

    def require_filled_in(self) -> None:
        """Checks that nothing is left to be filled in.

        Raises:
            ConfigurationError: If a placeholder is left.
        """
        for number, line in enumerate(self.path.read_text(encoding="utf-8").splitlines(), start=1):
            content = line.partition("#")[0]
            if f"{PLACEHOLDER}-" in content:
                raise ConfigurationError(
                    f"{self.path}, line {number}: {content.strip()!r} is still to be filled in; "
                    f"write your own in the place of {PLACEHOLDER}-..."
                )


def read_cluster_file(path: Path | str) -> ClusterFile:
    """Reads and checks a cluster's file.

    Raises:
        ConfigurationError: If it cannot be read, or Ray would not take it, or a key is unknown.
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
    _check_keys(values, source)
    values = _completed(values, source)
    place = ("metadata", "splitbench")
    notes = ClusterNotes.parse(_notes(values), where=".".join(place), origin=source, at=place)
    head, workers = _local_types(values, notes) if _provider(values) == "local" else _types(values, notes)
    known = [head.name, *(worker.name for worker in workers)]
    for name in notes.price_per_hour:
        if name not in known:
            raise UnknownNameError("node type", name, known, where=f"{source.name}: metadata.splitbench.price_per_hour")
    has_token = any(_TOKEN in line for line in values.get("head_start_ray_commands", []))
    return ClusterFile(path, _provider(values), head, workers, notes, has_token)


def ray_schema() -> dict[str, Any]:
    """Returns the JSON schema that Ray itself checks such files by."""
    from importlib import resources

    text = resources.files("ray.autoscaler").joinpath("ray-schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def _check_keys(values: Mapping[str, Any], source: Source) -> None:
    schema = ray_schema()
    for key in values:
        if key not in schema["properties"] and key not in _TAKEN_OUT:
            raise UnknownNameError("key", str(key), schema["properties"], where=source.where(str(key)))
    provider = values.get("provider")
    if isinstance(provider, Mapping) and provider.get("type") in _CHECKED_PROVIDERS:
        known = schema["properties"]["provider"]["properties"]
        for key in provider:
            if key not in known:
                where = f"{source.where('provider', str(key))}: provider"
                raise UnknownNameError("key", str(key), known, where=where)


def _completed(values: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """Returns a cluster's file with Ray's own defaults, checked as ``ray up`` checks it before it asks the cloud."""
    import jsonschema
    from ray.autoscaler._private.util import prepare_config, validate_config

    try:
        try:
            completed: dict[str, Any] = prepare_config(dict(values))
        except Exception:
            # Ray trips over values of a wrong type; its schema says which.
            schema = ray_schema()
            del schema["properties"]["available_node_types"]["patternProperties"][".*"]["required"]
            jsonschema.validate(dict(values), schema)
            raise
        kinds, head = completed["available_node_types"], completed["head_node_type"]
        if head not in kinds:
            where = f"{source.where('head_node_type')}: head_node_type"
            raise UnknownNameError("node type", str(head), kinds, where=where)
        if _sizes_come_from_the_cloud(completed):
            for kind in kinds.values():
                kind.setdefault("resources", {})
        validate_config(completed)
    except jsonschema.ValidationError as error:
        place = ".".join(map(str, error.absolute_path)) or "the file"
        where = source.where(*error.absolute_path)
        raise ConfigurationError(f"{where}: {place}: {error.message}; Ray would refuse it.") from None
    except ConfigurationError:
        raise
    # What Ray raises here has no common class; whatever it is, 'ray up' would end with it.
    except Exception as error:
        raise ConfigurationError(f"{source.where()}: Ray would refuse it: {error or type(error).__name__}.") from None
    return completed


def _sizes_come_from_the_cloud(values: Mapping[str, Any]) -> bool:
    """Says whether Ray asks the cloud how large the machines are; it does so on AWS, by their instances' types."""
    kinds = values["available_node_types"].values()
    return _provider(values) == "aws" and all("InstanceType" in (kind.get("node_config") or {}) for kind in kinds)


def _provider(values: Mapping[str, Any]) -> str:
    return str(values["provider"]["type"])


def _notes(values: Mapping[str, Any]) -> Mapping[str, Any]:
    notes = values.get("metadata", {}).get("splitbench", {})
    return notes if isinstance(notes, Mapping) else {"results": notes}


def _types(values: Mapping[str, Any], notes: ClusterNotes) -> tuple[NodeType, tuple[NodeType, ...]]:
    kinds, head, most = values["available_node_types"], values["head_node_type"], values["max_workers"]
    absent = None if _sizes_come_from_the_cloud(values) else 0

    def node_type(name: str) -> NodeType:
        resources = kinds[name]["resources"]
        count = 1 if name == head else min(most, kinds[name]["max_workers"])
        price = notes.price_per_hour.get(name)
        return NodeType(name, resources.get("CPU", absent), resources.get("GPU", absent), count, price)

    return node_type(str(head)), tuple(node_type(name) for name in kinds if name != head)


def _local_types(values: Mapping[str, Any], notes: ClusterNotes) -> tuple[NodeType, tuple[NodeType, ...]]:
    most = len(values["provider"].get("worker_ips", []))
    prices = notes.price_per_hour
    head = NodeType(_HEAD, notes.cpus_per_worker, notes.gpus_per_worker, 1, prices.get(_HEAD))
    worker = NodeType(_WORKER, notes.cpus_per_worker, notes.gpus_per_worker, most, prices.get(_WORKER))
    return head, (worker,)

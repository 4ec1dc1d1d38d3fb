"""Ray's own defaults and checks of cluster files, run silently and reported with file and line."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from harness.config.yaml_source import Source
from splitters.errors import ConfigurationError, UnknownNameError

_FORMER_KEYS = ("min_workers", "head_node", "worker_nodes")
"""Top-level keys of old that Ray still removes itself, the last two only where they are empty."""

_PROVIDER_KEYS = {
    "aws": ("aws_credentials", "key_pair"),
    "gcp": (),
    "local": ("coordinator_address", "external_head_ip"),
}
"""By provider, the keys that Ray reads although its schema, which accepts any key of a provider, does not list them."""

_COMMON_PROVIDER_KEYS = (
    "disable_launch_config_check",
    "foreground_node_launch",
    "use_external_head_ip",
    "worker_liveness_check",
)


def complete(values: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """Return a cluster file with Ray's defaults filled in, checked as ``ray up`` checks it before it asks the cloud.

    Raises:
        ConfigurationError: If a key is unknown, or if Ray would refuse the file.
    """
    import jsonschema

    _check_keys(values, source)
    try:
        with _silent_ray():
            return _completed(values, source)
    except jsonschema.ValidationError as error:
        entry = ".".join(map(str, error.absolute_path)) or "the file"
        where = source.where(*error.absolute_path)
        raise ConfigurationError(f"{where}: {entry}: {error.message}; Ray would refuse it.") from None
    except ConfigurationError:
        raise
    # Ray's errors have no common class; whatever it raises here, 'ray up' would raise too.
    except Exception as error:
        missing = f"the key {error} is missing" if isinstance(error, KeyError) else ""
        reason = missing or str(error).rstrip(".") or type(error).__name__
        raise ConfigurationError(f"{source.where()}: Ray would refuse it: {reason}.") from None


def sizes_come_from_the_cloud(values: Mapping[str, Any]) -> bool:
    """Return whether Ray asks the cloud for the machines' sizes; on AWS it does, by instance type."""
    configs = [kind.get("node_config") or {} for kind in values["available_node_types"].values()]
    return values["provider"]["type"] == "aws" and all("InstanceType" in config for config in configs)


def provider_keys(provider: str) -> set[str] | None:
    """Return the keys of a provider that Ray reads; None for a provider whose keys are not known here."""
    if provider not in _PROVIDER_KEYS:
        return None
    return {*_schema()["properties"]["provider"]["properties"], *_COMMON_PROVIDER_KEYS, *_PROVIDER_KEYS[provider]}


def _schema() -> dict[str, Any]:
    """Return the JSON schema that Ray checks cluster files with."""
    from importlib import resources

    text = resources.files("ray.autoscaler").joinpath("ray-schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def _check_keys(values: Mapping[str, Any], source: Source) -> None:
    known = _schema()["properties"]
    for key in values:
        if key not in known and key not in _FORMER_KEYS:
            raise UnknownNameError("key", str(key), known, where=source.where(str(key)))
    provider = values.get("provider")
    if isinstance(provider, Mapping) and (known := provider_keys(str(provider.get("type")))):
        for key in provider:
            if key not in known:
                where = f"{source.where('provider', str(key))}: provider"
                raise UnknownNameError("key", str(key), known, where=where)


def _completed(values: Mapping[str, Any], source: Source) -> dict[str, Any]:
    import click
    from ray.autoscaler._private.util import prepare_config, validate_config

    try:
        completed: dict[str, Any] = prepare_config(dict(values))
    except click.ClickException:
        raise  # Ray's own words.
    except Exception:
        # Ray stumbled over a value of the wrong type; its schema says which.
        _check_types(values)
        raise
    kinds, head = completed["available_node_types"], completed["head_node_type"]
    if not isinstance(head, str):
        _check_types(values)
    if head not in kinds:
        raise UnknownNameError("node type", str(head), kinds, where=f"{source.where('head_node_type')}: head_node_type")
    if sizes_come_from_the_cloud(completed):
        for kind in kinds.values():
            kind.setdefault("resources", {})
    validate_config(completed)
    return completed


def _check_types(values: Mapping[str, Any]) -> None:
    """Check a file against Ray's schema, without requiring what Ray would have filled in."""
    import jsonschema

    schema = _schema()
    schema["required"] = ["provider"]
    del schema["properties"]["available_node_types"]["patternProperties"][".*"]["required"]
    jsonschema.validate({key: value for key, value in values.items() if key not in _FORMER_KEYS}, schema)


@contextlib.contextmanager
def _silent_ray() -> Iterator[None]:
    """Discard what Ray's launcher prints and logs in the block; its errors are exceptions all the same."""
    logger = logging.getLogger("ray.autoscaler")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)

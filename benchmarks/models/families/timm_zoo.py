"""timm's image classifiers, untrained or with published weights, and those that live on the Hugging Face hub."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from benchmarks.models.architecture import MODELS, Architecture
from benchmarks.models.published_weights import HubSource, PublishedWeights, UrlSource, WeightsSource
from benchmarks.models.weights_reading import StoredWeights
from splitters.errors import ConfigurationError, DataError, UnknownNameError

_DEFAULT = "DEFAULT"
_FILES = ("model.safetensors", "pytorch_model.bin")
_MOST_CHOICES = 12
_RESERVED = frozenset({"pretrained", "num_classes", "in_chans"})


class TimmZoo(Architecture):
    """``timm:NAME``, where NAME may end in the tag of its weights; its settings are keyword arguments of timm's."""

    description = "any image classifier of timm (an extra), e.g. timm:resnet10t; settings: its keyword arguments"

    def check(self, member: str, settings: dict[str, object], *, where: str) -> None:
        """Check the name; where there are settings, try them without memory for weights."""
        timm = _timm(where)
        if not timm.is_model(member):
            names = timm.list_models()
            near = difflib.get_close_matches(member, names, n=_MOST_CHOICES, cutoff=0.3)
            raise UnknownNameError("timm model", member, near or names[:_MOST_CHOICES], where=where)
        _check_settings(timm, member, settings, where)

    def build(
        self, member: str, settings: dict[str, object], *, n_classes: int, input_shape: tuple[int, int, int]
    ) -> nn.Module:
        """Return timm's network with its own initialisation."""
        model: nn.Module = _timm(f"timm:{member}").create_model(
            member, pretrained=False, num_classes=n_classes, in_chans=input_shape[0], **settings
        )
        return model

    def published(self, member: str, name: str, cache: Path, *, download: bool) -> PublishedWeights | None:
        """Return timm's weights with that tag; ``DEFAULT`` are those of the tag in the name, or timm's choice."""
        timm = _timm(f"timm:{member}")
        if not timm.is_model(member):
            return None
        base = member.partition(".")[0]
        asked = member if name == _DEFAULT else f"{base}.{name}"
        config = (
            timm.get_pretrained_cfg(asked) if name == _DEFAULT or asked in timm.list_pretrained(f"{base}.*") else None
        )
        if config is None:
            return None
        values = config.to_dict(remove_source=False, remove_null=False)
        if not (values.get("hf_hub_id") or values.get("url")):
            raise ConfigurationError(f"timm publishes no weights of {member!r}; name a file of weights.")
        tag = f".{values['tag']}" if values.get("tag") else ""
        return _described(f"timm:{values['architecture'] or base}{tag}", _source(values, f"{base}{tag}"), values)

    def build_published(self, member: str, settings: dict[str, object], weights: StoredWeights) -> nn.Module:
        """Return timm's network with weights that it publishes, whose names timm itself translates."""
        return _with_state(member, {}, settings, weights)


class HubZoo(Architecture):
    """``hf:OWNER/REPO``: a repository on the Hugging Face hub that holds one of timm's networks."""

    description = "a timm network on the Hugging Face hub, e.g. hf:timm/resnet10t.c3_in1k; needs weights: DEFAULT"

    def check(self, member: str, settings: dict[str, object], *, where: str) -> None:
        """Check the form of the name; what the repository holds is known once it is here."""
        _timm(where)
        if member.count("/") != 1 or not all(member.split("/")):
            raise ConfigurationError(f"{where}: a repository on the Hugging Face hub is written as hf:OWNER/REPO.")
        if settings:
            raise ConfigurationError(f"{where}: such a model has no settings; its repository describes it.")

    def build(
        self, member: str, settings: dict[str, object], *, n_classes: int, input_shape: tuple[int, int, int]
    ) -> nn.Module:
        """Refuse: a repository is the network and its weights."""
        raise ConfigurationError(
            f"model 'hf:{member}' is not trained here: it is a network with its weights. Add weights: DEFAULT, or name "
            "its architecture as timm:NAME."
        )

    def published(self, member: str, name: str, cache: Path, *, download: bool) -> PublishedWeights | None:
        """Return the repository's weights."""
        if name != _DEFAULT:
            return None
        values = _hub_config(member, cache, download=download)
        config = {**values, **values.get("pretrained_cfg", {})}
        return _described(f"hf:{member}", HubSource(member, _FILES), config)

    def build_published(self, member: str, settings: dict[str, object], weights: StoredWeights) -> nn.Module:
        """Return the repository's network with its weights."""
        # The configuration lies beside the weights in the hub's cache.
        config = _read_config(weights.path.with_name("config.json"), member)
        return _with_state(
            config["architecture"], config.get("pretrained_cfg", {}), config.get("model_args", {}), weights
        )


def _timm(where: str) -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise ConfigurationError(
            f"{where}: models of timm and of the Hugging Face hub need the package timm ({error}): pip install timm"
        ) from error
    module: ModuleType = timm
    return module


def _check_settings(timm: ModuleType, member: str, settings: dict[str, object], where: str) -> None:
    reserved = sorted(_RESERVED & set(settings))
    if reserved:
        raise ConfigurationError(f"{where}: {reserved[0]!r} is set by the benchmark; leave it out.")
    if not settings:
        return
    try:
        with torch.device("meta"):
            timm.create_model(member, pretrained=False, num_classes=2, **settings)
    except (TypeError, ValueError, RuntimeError, AttributeError, ArithmeticError, AssertionError) as error:
        raise ConfigurationError(f"{where}: timm refuses the settings {settings}: {error}") from error


def _with_state(
    architecture: str, config: Mapping[str, object], settings: Mapping[str, object], weights: StoredWeights
) -> nn.Module:
    overlay = {**config, "state_dict": dict(weights.tensors)}
    try:
        model: nn.Module = _timm(architecture).create_model(
            architecture, pretrained=True, pretrained_cfg_overlay=overlay, **settings
        )
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        raise ConfigurationError(
            f"{weights.path}: timm cannot load these weights into {architecture!r}: {error}"
        ) from error
    return model


def _described(name: str, source: WeightsSource, config: Mapping[str, Any]) -> PublishedWeights:
    channels, height, width = config.get("input_size") or (3, 224, 224)
    return PublishedWeights(
        name=name,
        source=source,
        input_shape=(channels, height, width),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        class_names=tuple(config.get("label_names") or _imagenet_classes(config)),
        n_logits=int(config["num_classes"]),
    )


def _imagenet_classes(config: Mapping[str, Any]) -> list[str]:
    """Return ImageNet's WordNet ids, which name the folders of its images, for weights that have its classes."""
    data = _timm("timm").data
    subset = data.infer_imagenet_subset(dict(config))
    return list(data.ImageNetInfo(subset).label_names()) if subset else []


def _source(config: Mapping[str, Any], name: str) -> WeightsSource:
    repository = config.get("hf_hub_id")
    if not repository:
        return UrlSource(str(config["url"]))
    repository = f"{repository}{name}" if repository.endswith("/") else repository
    return HubSource(repository, (config["hf_hub_filename"],) if config.get("hf_hub_filename") else _FILES)


def _hub_config(repository: str, cache: Path, *, download: bool) -> dict[str, Any]:
    source = HubSource(repository, ("config.json",))
    found = source.find(cache) or (source.fetch(cache) if download else None)
    if found is None:
        raise DataError(
            f"hf:{repository} is not on this machine; fetch it with "
            f"'splitbench inspect hf:{repository} --weights DEFAULT --download'."
        )
    return _read_config(found, repository)


def _read_config(path: Path, repository: str) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"hf:{repository}: its config.json cannot be read: {error}") from error
    timm = _timm(f"hf:{repository}")
    if not isinstance(values, dict) or not timm.is_model(str(values.get("architecture"))):
        raise ConfigurationError(
            f"hf:{repository} holds no network of timm's: its config.json names the architecture "
            f"{values.get('architecture') if isinstance(values, dict) else None!r}. Save its state dict to a file, and "
            "give that with 'python:PACKAGE.MODULE:FACTORY'."
        )
    return values


MODELS.register("timm:NAME")(TimmZoo())
MODELS.register("hf:OWNER/REPO")(HubZoo())

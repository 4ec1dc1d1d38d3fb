"""torchvision's classification networks, untrained."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.models.architecture import MODELS, Architecture
from splitters.errors import ConfigurationError, UnknownNameError

# Without these, the two warn about their initialisation, and give tuples in train mode.
_DEFAULTS: dict[str, dict[str, object]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}
_RESERVED = frozenset({"weights", "num_classes"})


class TorchvisionZoo(Architecture):
    """``torchvision:NAME``; its settings are keyword arguments of torchvision's own function."""

    description = (
        "any classification network of torchvision, e.g. torchvision:resnet18; settings: its keyword arguments"
    )

    def check(self, member: str, settings: dict[str, object], *, where: str) -> None:
        """Checks the name; where there are settings, tries them without memory for weights."""
        import torchvision.models

        names = torchvision.models.list_models(module=torchvision.models)
        if member not in names:
            raise UnknownNameError("torchvision model", member, names, where=where)
        reserved = sorted(_RESERVED & set(settings))
        if reserved:
            raise ConfigurationError(f"{where}: {reserved[0]!r} is set by the benchmark; leave it out.")
        if not settings:
            return
        try:
            with torch.device("meta"):
                _make(member, settings, n_classes=2)
        except (TypeError, ValueError, RuntimeError, AttributeError, ArithmeticError) as error:
            raise ConfigurationError(f"{where}: torchvision refuses the settings {settings}: {error}") from error

    def build(
        self, member: str, settings: dict[str, object], *, n_classes: int, input_shape: tuple[int, int, int]
    ) -> nn.Module:
        """Returns torchvision's network with its own initialisation."""
        return _make(member, settings, n_classes=n_classes)


def _make(member: str, settings: dict[str, object], *, n_classes: int) -> nn.Module:
    import torchvision.models

    arguments = {**_DEFAULTS.get(member, {}), **settings}
    model: nn.Module = torchvision.models.get_model(member, weights=None, num_classes=n_classes, **arguments)
    return model


MODELS.register("torchvision:NAME")(TorchvisionZoo())

"""Networks of the user's own, made by any importable function or class."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable

from torch import nn

from benchmarks.models.architecture import MODELS, Architecture
from splitters.errors import ConfigurationError, UnknownNameError
from splitters.foreign_code import constructing, importing
from splitters.source_code import code_fingerprint

_OFFERED = ("n_classes", "input_shape")
_TORCHVISION_NAME = "num_classes"
"""Another name of ``n_classes``; a setting of that name takes precedence."""


class PythonFactory(Architecture):
    """``python:package.module:factory``.

    The factory is called with keyword arguments: those of ``n_classes`` (or ``num_classes``) and ``input_shape`` that
    its signature takes, and the settings.
    """

    description = "a function or class of your own that returns a torch.nn.Module; settings: its keyword arguments"

    def check(self, member: str, settings: dict[str, object], *, where: str) -> None:
        """Import the factory and check its signature."""
        takes, takes_any = _parameters(_load(member, where), where)
        for key in settings:
            if key in _OFFERED:
                raise ConfigurationError(f"{where}: {key!r} is set by the benchmark; leave it out.")
            if key not in takes and not takes_any:
                raise UnknownNameError("setting", key, set(takes) - set(_OFFERED), where=where)
        given = {*settings, *_OFFERED, _TORCHVISION_NAME}
        missing = [key for key, needed in takes.items() if needed and key not in given]
        if missing:
            raise ConfigurationError(
                f"{where}: the factory needs {missing[0]!r}. If that is the number of logits, call it n_classes; "
                "otherwise give it a default, or a value under the model's settings in a suite."
            )

    def build(
        self, member: str, settings: dict[str, object], *, n_classes: int, input_shape: tuple[int, int, int]
    ) -> nn.Module:
        """Call the factory.

        Raises:
            ConfigurationError: If it raises anything, ``SystemExit`` included.
        """
        title = f"model 'python:{member}'"
        factory = _load(member, title)
        takes, takes_any = _parameters(factory, title)
        count = _TORCHVISION_NAME if _TORCHVISION_NAME in takes and "n_classes" not in takes else "n_classes"
        offered: dict[str, object] = {count: n_classes, "input_shape": input_shape}
        with constructing(title):
            return factory(**{key: value for key, value in offered.items() if key in takes or takes_any} | settings)

    def code_fingerprint(self, member: str) -> str:
        """Return the hash of the source that defines the factory; empty where there is none."""
        factory = inspect.unwrap(_load(member, f"model 'python:{member}'"))
        return code_fingerprint({member.partition(":")[0], factory.__module__})


def _load(member: str, where: str) -> Callable[..., nn.Module]:
    module_name, colon, factory_name = member.partition(":")
    if not (colon and module_name and factory_name):
        raise ConfigurationError(f"{where}: {member!r} is not written as package.module:factory.")
    remedy = (
        "It is looked for beside the suite's file and, on the command line, in the current folder; else install it, or "
        "name its folder in PYTHONPATH."
    )
    with importing(f"{where}: the module {module_name!r}", remedy=remedy):
        module = importlib.import_module(module_name)
    factory = getattr(module, factory_name, None)
    if factory is None:
        choices = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise UnknownNameError(f"factory in {module_name}", factory_name, choices, where=where)
    if isinstance(factory, nn.Module):
        raise ConfigurationError(
            f"{where}: {member!r} is a network, not a function that returns one. Make it in a function, such as "
            f"'def make(n_classes): return ...', and write python:{module_name}:make."
        )
    if not callable(factory):
        raise ConfigurationError(f"{where}: {member!r} is {factory!r}; it must be a function or a class.")
    loaded: Callable[..., nn.Module] = factory
    return loaded


def _parameters(factory: Callable[..., nn.Module], where: str) -> tuple[dict[str, bool], bool]:
    """Return the keyword parameters, each with whether it must be given, and whether any others are taken."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{where}: the factory's signature cannot be read ({error}).") from error
    unnamed = [item.name for item in parameters if item.kind is item.POSITIONAL_ONLY and item.default is item.empty]
    if unnamed:
        raise ConfigurationError(
            f"{where}: the factory takes {unnamed[0]!r} by position alone, and is called with keyword arguments; "
            "remove the '/' from its signature."
        )
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    takes = {item.name: item.default is item.empty for item in parameters if item.kind in named}
    return takes, any(item.kind is item.VAR_KEYWORD for item in parameters)


PYTHON_PREFIX = "python:"
"""What the names of networks that are the user's own code begin with."""

MODELS.register(f"{PYTHON_PREFIX}PACKAGE.MODULE:FACTORY")(PythonFactory())

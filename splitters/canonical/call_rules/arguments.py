"""Arguments of calls, however they were given."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def by_name(args: Any, kwargs: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return the arguments of a call by name."""
    return {**dict(zip(names, args, strict=False)), **kwargs}


def axes_or_sizes(rest: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return axes or sizes, which calls take one by one, as a tuple or by name."""
    given = rest or (kwargs.get("dims", kwargs.get("size")),)
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], (tuple, list)) else given


def copied(tensor: Tensor | None) -> Tensor | None:
    """Return a copy without a gradient, or None for None."""
    return None if tensor is None else tensor.detach().clone()

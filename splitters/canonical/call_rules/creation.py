"""Calls that make a new tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from splitters.canonical.builder import CanonicalBuilder
from splitters.canonical.call_rules.arguments import axes_or_sizes, by_name
from splitters.canonical.constants import Constant


class CreationRules(CanonicalBuilder):
    """One rule per call; see ``CallRules``."""

    def _rewrite_full_like(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = by_name(args, kwargs, "input", "fill_value")
        if given.keys() != {"input", "fill_value"} or not self.values[given["input"]].is_floating_point():
            return None
        return self._emit("add", (self._emit("zeros_like", (given["input"],)), given["fill_value"]))

    def _rewrite_fill(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._rewrite_full_like((args[0], *args[1:], *kwargs.values()), {})

    def _rewrite_zero(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        return self._emit("zeros_like", (args[0],))

    def _rewrite_zeros(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._filled(torch.zeros, axes_or_sizes(args, kwargs), kwargs)

    def _rewrite_ones(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._filled(torch.ones, axes_or_sizes(args, kwargs), kwargs)

    def _rewrite_full(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._filled(
            torch.full, axes_or_sizes(args[:1], kwargs), {"fill_value": args[1], **kwargs} if args[1:] else kwargs
        )

    def _rewrite_new_zeros(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._filled(self.values[args[0]].new_zeros, axes_or_sizes(args[1:], kwargs), kwargs)

    def _rewrite_new_ones(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._filled(self.values[args[0]].new_ones, axes_or_sizes(args[1:], kwargs), kwargs)

    def _rewrite_new_full(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = {"fill_value": args[2], **kwargs} if args[2:] else kwargs
        return self._filled(self.values[args[0]].new_full, axes_or_sizes(args[1:2], kwargs), given)

    def _rewrite_new_tensor(self, args: Any, kwargs: dict[str, Any]) -> Constant | None:
        data: list[fx.Node] = []
        fx.map_arg((args[1:], kwargs), data.append)
        if not all(node in self.constant_nodes for node in data):
            return None
        return Constant("new_tensor", self.values[args[0]].new_tensor(*self._real(args[1:]), **self._real(kwargs)))

    # What is allocated is overwritten by ``fill_`` or ``zero_``.
    _rewrite_empty, _rewrite_new_empty = _rewrite_zeros, _rewrite_new_zeros

    def _rewrite_new(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return None if isinstance(args[-1], list) else self._rewrite_new_empty(args, kwargs)

    def _filled(self, fill: Callable[..., Tensor], sizes: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        """Make one value for every image, channel and place a value per channel that is expanded."""
        if isinstance(sizes, tuple) and len(sizes) == 1 and isinstance(self._real(sizes[0]), torch.Size):
            sizes = tuple(self._emit("getitem", (sizes[0], axis)) for axis in range(len(self._real(sizes[0]))))
        if not isinstance(sizes, tuple) or len(sizes) < 2 or not isinstance(sizes[0], fx.Node):
            return None
        _, channels, *places = self._real(sizes)
        settings = {key: value for key, value in self._real(kwargs).items() if key not in ("size", "out")}
        vector = self._store(Constant(fill.__name__, fill((1, channels, *[1] * len(places)), **settings)))
        return self._emit("expand", (vector, (sizes[0], channels, *places)))

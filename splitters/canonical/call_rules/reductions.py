"""Calls that reduce axes."""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx

from splitters.canonical.builder import CanonicalBuilder
from splitters.canonical.call_rules.arguments import by_name


class ReductionRules(CanonicalBuilder):
    """One rule per call; see ``CallRules``."""

    def _rewrite_max(self, args: Any, kwargs: dict[str, Any]) -> Any:
        return self._extremum(("amax", "argmax", "maximum"), args, kwargs)

    def _rewrite_min(self, args: Any, kwargs: dict[str, Any]) -> Any:
        return self._extremum(("amin", "argmin", "minimum"), args, kwargs)

    def _extremum(self, names: tuple[str, str, str], args: Any, kwargs: dict[str, Any]) -> Any:
        given = by_name(args, kwargs, "input", "dim", "keepdim")
        x, dim = given["input"], given.get("other", given.get("dim"))
        values, indices, of_two = names
        if isinstance(dim, fx.Node):
            return self._emit(of_two, (x, dim)) if isinstance(self.values[dim], Tensor) else None
        if dim is None:
            return self._emit(values, (x,))
        along = (x, dim, bool(given.get("keepdim", False)))
        return self._emit(values, along), self._emit(indices, along)

    def _rewrite_max_pool1d(self, args: Any, kwargs: dict[str, Any]) -> Any:
        return self._pool_with_indices("max_pool1d", args, kwargs)

    def _rewrite_max_pool2d(self, args: Any, kwargs: dict[str, Any]) -> Any:
        return self._pool_with_indices("max_pool2d", args, kwargs)

    def _rewrite_adaptive_max_pool1d(self, args: Any, kwargs: dict[str, Any]) -> Any:
        return self._pool_with_indices("adaptive_max_pool1d", args, kwargs)

    def _rewrite_adaptive_max_pool2d(self, args: Any, kwargs: dict[str, Any]) -> Any:
        return self._pool_with_indices("adaptive_max_pool2d", args, kwargs)

    def _pool_with_indices(self, name: str, args: Any, kwargs: dict[str, Any]) -> Any:
        """Pool apart from the indices, which hardly any network reads."""
        if not kwargs.get("return_indices"):
            return None
        both = self._emit(name, args, kwargs)
        alone = {key: value for key, value in kwargs.items() if key != "return_indices"}
        return self._emit(name, args, alone), self._emit("getitem", (both, 1))

    def _rewrite_std(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        return self._spread("std", args, kwargs)

    def _rewrite_var(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        return self._spread("var", args, kwargs)

    def _rewrite_std_mean(self, args: Any, kwargs: dict[str, Any]) -> Any:
        return self._spread("std", args, kwargs), self._mean_like(args, kwargs)

    def _rewrite_var_mean(self, args: Any, kwargs: dict[str, Any]) -> Any:
        return self._spread("var", args, kwargs), self._mean_like(args, kwargs)

    def _spread(self, name: str, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        """Emit a standard deviation or variance, in the one spelling that has all settings."""
        given = by_name(args, kwargs, "input", "dim", "unbiased", "keepdim")
        dim, unbiased = given.get("dim"), given.get("unbiased", True)
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        correction = given.get("correction", int(unbiased))
        settings = {"correction": 1 if correction is None else correction, "keepdim": given.get("keepdim", False)}
        return self._emit(name, (given["input"], dim), settings)

    def _mean_like(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        given = by_name(args, kwargs, "input", "dim", "unbiased", "keepdim")
        dim = given.get("dim")
        return self._emit("mean", (given["input"], None if isinstance(dim, bool) else dim, given.get("keepdim", False)))

    def _rewrite_norm(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = by_name(args, kwargs, "input", "p", "dim", "keepdim")
        order = given.get("p", 2)
        if order == "fro":
            order = 2
        if not isinstance(order, (int, float)) or given.get("dtype") or given.get("out") is not None:
            return None
        settings = {"ord": order, "dim": given.get("dim"), "keepdim": given.get("keepdim", False)}
        return self._emit("vector_norm", (given["input"],), settings)

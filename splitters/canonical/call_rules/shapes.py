"""Calls that rearrange, join, cut or pick from a tensor."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, fx

from splitters.canonical.builder import CanonicalBuilder
from splitters.canonical.call_rules.arguments import axes_or_sizes, by_name

_EXTREMA = {"values": 0, "indices": 1}
"""The names of the results of ``torch.max`` and ``torch.min``."""


class ShapeRules(CanonicalBuilder):
    """One rule per call; see ``CallRules``."""

    def _rewrite_reshape(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        shape = self._sizes(args[1:], kwargs)
        return None if isinstance(shape, torch.dtype) else self._emit("reshape", (args[0], shape))

    def _rewrite_permute(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        return self._emit("permute", (args[0], axes_or_sizes(args[1:], kwargs)))

    def _rewrite_expand(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        return self._emit("expand", (args[0], self._sizes(args[1:], kwargs)))

    def _rewrite_view_as(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        other = by_name(args, kwargs, "input", "other")["other"]
        return self._emit("reshape", (args[0], self._emit("size", (other,))))

    _rewrite_reshape_as = _rewrite_view_as

    def _rewrite_movedim(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        given = by_name(args, kwargs, "input", "source", "destination")
        x, source, destination = given["input"], given["source"], given["destination"]
        # The permutation that moves axes moves them in a tensor whose sizes are their numbers, too.
        axes = torch.empty(tuple(range(self.values[x].dim()))).movedim(source, destination).shape
        return self._emit("permute", (x, tuple(axes)))

    def _rewrite_repeat(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        """Expand axes of size 1, and join copies along the others."""
        x: fx.Node = args[0]
        repeats = axes_or_sizes(args[1:], {"dims": kwargs.get("repeats", kwargs.get("dims"))})
        shape = self.values[x].shape
        if not all(isinstance(self._real(count), int) for count in repeats) or len(repeats) < len(shape):
            return None
        for _ in range(len(repeats) - len(shape)):
            x = self._emit("unsqueeze", (x, 0))
        shape = self.values[x].shape
        expanded = tuple(count if size == 1 and count != 1 else -1 for size, count in zip(shape, repeats, strict=True))
        if set(expanded) != {-1}:
            x = self._emit("expand", (x, expanded))
        for axis, (size, count) in enumerate(zip(shape, repeats, strict=True)):
            if size != 1 and count != 1:
                if not isinstance(count, int) or count == 0:
                    return None
                x = self._emit("cat", ((x,) * count, axis))
        return x

    def _rewrite_tile(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        repeats = axes_or_sizes(args[1:], kwargs)
        return self._rewrite_repeat((args[0], *[1] * (self.values[args[0]].dim() - len(repeats)), *repeats), {})

    def _rewrite_repeat_interleave(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = by_name(args, kwargs, "input", "repeats", "dim")
        x, count, dim = given["input"], given["repeats"], given.get("dim")
        if not isinstance(count, int) or not isinstance(dim, int):
            return None
        dim %= self.values[x].dim()
        sizes = tuple(count if axis == dim + 1 else -1 for axis in range(self.values[x].dim() + 1))
        return self._emit(
            "flatten", (self._emit("expand", (self._emit("unsqueeze", (x, dim + 1)), sizes)), dim, dim + 1)
        )

    def _rewrite_unbind(self, args: Any, kwargs: dict[str, Any]) -> Any:
        given = by_name(args, kwargs, "input", "dim")
        x = given["input"]
        dim = given.get("dim", 0) % self.values[x].dim()
        before = (slice(None),) * dim
        return tuple(self._emit("getitem", (x, (*before, index))) for index in range(self.values[x].shape[dim]))

    def _rewrite_select(self, args: Any, kwargs: dict[str, Any]) -> Any:
        given = by_name(args, kwargs, "input", "dim", "index")
        x, dim, index = given["input"], given["dim"], given["index"]
        before = (slice(None),) * (dim % self.values[x].dim())
        return self._emit("getitem", (x, (*before, index)))

    def _rewrite_t(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        x: fx.Node = args[0]
        return self._emit("transpose", (x, 0, 1)) if self.values[x].dim() == 2 else x

    def _rewrite_adjoint(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        return self._emit("transpose", (args[0], -2, -1))

    def _rewrite_hstack(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        return self._emit("cat", (args[0], 1))

    def _sizes(self, rest: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return sizes as a tuple, or as the single node that holds all of them."""
        sizes = axes_or_sizes(rest, kwargs)
        whole = len(sizes) == 1 and not isinstance(self._real(sizes[0]), int)
        return sizes[0] if whole else tuple(sizes)

    def _rewrite_narrow(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = by_name(args, kwargs, "input", "dim", "start", "length")
        x, numbers = given["input"], self._real((given["dim"], given["start"], given["length"]))
        if not all(isinstance(number, int) for number in numbers):
            return None
        dim, start, length = numbers
        shape = self.values[x].shape
        return self._emit("narrow", (x, dim % len(shape), start % shape[dim] if start else 0, length))

    def _rewrite_unflatten(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        x, dim, sizes = args[0], kwargs.get("dim", args[1] if len(args) > 1 else None), args[2:] or kwargs.get("sizes")
        if not isinstance(dim, int) or sizes is None:
            return None
        sizes = tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else tuple(sizes)
        shape = self.values[x].shape
        dim %= len(shape)
        before = tuple(self._emit("size", (x, axis)) for axis in range(dim))
        after = tuple(self._emit("size", (x, axis)) for axis in range(dim + 1, len(shape)))
        return self._emit("reshape", (x, (*before, *sizes, *after)))

    def _rewrite_chunk(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        x = args[0]
        chunks = args[1] if len(args) > 1 else kwargs.get("chunks")
        dim = args[2] if len(args) > 2 else kwargs.get("dim", 0)
        if not isinstance(chunks, int) or not isinstance(dim, int):
            return None
        return self._split(x, [part.shape[dim] for part in torch.chunk(self.values[x], chunks, dim)], dim)

    def _rewrite_tensor_split(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = by_name(args, kwargs, "input", "indices_or_sections", "dim")
        x, where, dim = given["input"], given.get("indices_or_sections"), given.get("dim", 0)
        if not isinstance(where, (int, tuple, list)) or not isinstance(dim, int):
            return None
        return self._split(x, [part.shape[dim] for part in torch.tensor_split(self.values[x], where, dim)], dim)

    def _rewrite_split(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        x = args[0]
        sizes = args[1] if len(args) > 1 else kwargs.get("split_size", kwargs.get("split_size_or_sections"))
        dim = args[2] if len(args) > 2 else kwargs.get("dim", 0)
        if not isinstance(dim, int):
            return None
        return self._split(x, [part.shape[dim] for part in torch.split(self.values[x], self._real(sizes), dim)], dim)

    def _split(self, x: fx.Node, sizes: list[int], dim: int) -> fx.Node:
        return self._emit("split", (x, tuple(sizes), dim % self.values[x].dim()))

    def _rewrite_getattr(self, args: Any, kwargs: dict[str, Any]) -> Any:
        x, name = args
        if isinstance(x, tuple):
            return x[_EXTREMA[name]] if name in _EXTREMA else None
        if name in _EXTREMA and isinstance(self.values[x], tuple):
            return self._emit("getitem", (x, _EXTREMA[name]))
        if name == "data":
            return x
        if name in ("mT", "mH") or (name in ("T", "H") and self.values[x].dim() == 2):
            return self._emit("transpose", (x, -2, -1))
        return self._emit("size", (x,)) if name == "shape" else None

    def _rewrite_getitem(self, args: Any, kwargs: dict[str, Any]) -> Any:
        """Turn slices of tensors into ``narrow``; items of tuples and sizes stay as they are."""
        x, index = args
        if isinstance(x, tuple):
            return x[index]
        value = self.values.get(x) if isinstance(x, fx.Node) else None
        if not isinstance(value, Tensor):
            return self._emit("getitem", (x, index)) if isinstance(index, int) else None
        parts = index if isinstance(index, tuple) else (index,)
        if Ellipsis in parts:
            at, given = parts.index(Ellipsis), sum(part is not None for part in parts) - 1
            parts = (*parts[:at], *[slice(None)] * (value.dim() - given), *parts[at + 1 :])
        if not all(isinstance(part, slice) and part.step in (None, 1) for part in parts):
            return self._emit("getitem", (x, parts))
        narrowed: fx.Node = x
        for axis, part in enumerate(parts):
            start, stop, _ = slice(self._real(part.start), self._real(part.stop)).indices(value.shape[axis])
            if (start, stop) != (0, value.shape[axis]):
                narrowed = self._emit("narrow", (narrowed, axis, start, stop - start))
        return narrowed

    def _rewrite_stack(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = by_name(args, kwargs, "tensors", "dim")
        tensors, dim = given["tensors"], given.get("dim", 0)
        if not isinstance(tensors, (tuple, list)):
            return None
        dim %= self.values[tensors[0]].dim() + 1
        axis = max(dim, 1)
        stacked = self._emit("cat", (tuple(self._emit("unsqueeze", (part, axis)) for part in tensors), axis))
        # Images stay first where the tensors are only stacked to be reduced again.
        return self._emit("transpose", (stacked, 0, 1)) if dim == 0 else stacked

    def _rewrite_flip(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        return self._emit("flip", (args[0], tuple(axes_or_sizes(args[1:], kwargs))))

    def _rewrite_pixel_shuffle(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = by_name(args, kwargs, "input", "upscale_factor")
        return self._of_images("pixel_shuffle", given["input"], given["upscale_factor"])

    def _rewrite_pixel_unshuffle(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = by_name(args, kwargs, "input", "downscale_factor")
        return self._of_images("pixel_unshuffle", given["input"], given["downscale_factor"])

    def _of_images(self, name: str, x: fx.Node, factor: int) -> fx.Node | None:
        return self._emit(name, (x, factor)) if self.values[x].dim() == 4 else None

    def _rewrite_channel_shuffle(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = by_name(args, kwargs, "input", "groups")
        x, groups = given["input"], given["groups"]
        if self.values[x].dim() != 4:
            return None
        batch, height, width = (self._emit("size", (x, axis)) for axis in (0, 2, 3))
        x = self._emit("transpose", (self._emit("reshape", (x, (batch, groups, -1, height, width))), 1, 2))
        return self._emit("reshape", (x, (batch, -1, height, width)))

    def _rewrite_numel(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        (sizes,) = args
        if isinstance(self.values[sizes], Tensor):
            sizes = self._emit("size", (sizes,))
        parts = [self._emit("getitem", (sizes, index)) for index in range(len(self.values[sizes]))]
        return functools.reduce(lambda one, other: self._emit("mul", (one, other)), parts) if parts else None

    def _rewrite_pad(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        """Give a padding of channels by a constant its arguments by position and its amounts as numbers."""
        given = by_name(args, kwargs, "input", "pad", "mode", "value")
        amounts = self._real(given["pad"])
        if len(amounts) <= 4 or not any(amounts[4:]) or given.get("mode", "constant") != "constant":
            return None
        return self._emit("pad", (given["input"], tuple(amounts), "constant", self._real(given.get("value"))))

    def _rewrite_affine_grid(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        """Leave the number of channels out of the sizes, as no grid depends on it."""
        given = by_name(args, kwargs, "theta", "size", "align_corners")
        sizes, axes = given["size"], range(len(self._real(given["size"])))
        parts = [self._emit("getitem", (sizes, axis)) if isinstance(sizes, fx.Node) else sizes[axis] for axis in axes]
        parts[1] = 1
        return self._emit("affine_grid", (given["theta"], tuple(parts), given.get("align_corners")))

    def _rewrite_glu(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = by_name(args, kwargs, "input", "dim")
        x, dim = given["input"], given.get("dim", -1)
        halves = self._split(x, [self.values[x].shape[dim] // 2] * 2, dim)
        value, gate = (self._emit("getitem", (halves, index)) for index in range(2))
        return self._emit("mul", (value, self._emit("sigmoid", (gate,))))

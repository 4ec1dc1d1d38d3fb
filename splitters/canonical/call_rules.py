"""Rewriting calls of functions and methods that are not plain operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from splitters.canonical.builder import CanonicalBuilder
from splitters.canonical.constants import Constant
from splitters.canonical.operations import ChannelAffine, ChannelPReLU


class CallRules(CanonicalBuilder):
    """One rule per call, named after it; a rule returns None if it cannot rewrite the call."""

    def _rewrite_reshape(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        shape = self._sizes(args[1:], kwargs)
        return None if isinstance(shape, torch.dtype) else self._emit("reshape", (args[0], shape))

    def _rewrite_permute(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        return self._emit("permute", (args[0], _dims(args[1:], kwargs)))

    def _rewrite_expand(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        return self._emit("expand", (args[0], self._sizes(args[1:], kwargs)))

    def _sizes(self, rest: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return sizes as a tuple, or as the single node that holds all of them."""
        sizes = _dims(rest, kwargs)
        whole = len(sizes) == 1 and not isinstance(self._real(sizes[0]), int)
        return sizes[0] if whole else tuple(sizes)

    def _rewrite_narrow(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = {**dict(zip(("input", "dim", "start", "length"), args, strict=False)), **kwargs}
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

    def _rewrite_split(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        x = args[0]
        sizes = args[1] if len(args) > 1 else kwargs.get("split_size", kwargs.get("split_size_or_sections"))
        dim = args[2] if len(args) > 2 else kwargs.get("dim", 0)
        if not isinstance(dim, int):
            return None
        return self._split(x, [part.shape[dim] for part in torch.split(self.values[x], self._real(sizes), dim)], dim)

    def _split(self, x: fx.Node, sizes: list[int], dim: int) -> fx.Node:
        return self._emit("split", (x, tuple(sizes), dim % self.values[x].dim()))

    def _rewrite_getattr(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._emit("size", (args[0],)) if args[1] == "shape" else None

    def _rewrite_getitem(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        """Turn slices of tensors into ``narrow``; items of tuples and sizes stay as they are."""
        x, index = args
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

    def _rewrite_conv2d(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        weight, bias = self._stored(given.get("weight")), self._stored(given.get("bias"))
        if weight is None or (bias is None and given.get("bias") is not None):
            return None
        height, width = weight.shape[2:]
        groups = self._real(given.get("groups", 1))
        conv = nn.Conv2d(
            weight.shape[1] * groups, weight.shape[0], (height, width), given.get("stride", 1),
            given.get("padding", 0), given.get("dilation", 1), groups, bias is not None, device="meta",
        )  # fmt: skip
        return self._layer(_with_weights(conv, weight, bias), given["input"], self._weight_source(given["weight"]))

    def _rewrite_linear(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = {**dict(zip(("input", "weight", "bias"), args, strict=False)), **kwargs}
        weight, bias = self._stored(given.get("weight")), self._stored(given.get("bias"))
        if weight is None or (bias is None and given.get("bias") is not None):
            return None
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
        return self._layer(_with_weights(linear, weight, bias), given["input"], self._weight_source(given["weight"]))

    def _rewrite_matmul(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        """Turn the product of a tensor and a stored matrix into a linear layer."""
        x, matrix = (*args, kwargs.get("other"))[:2]
        stored = self._stored(matrix)
        if stored is None or stored.dim() != 2 or self._stored(x) is not None:
            return None
        linear = nn.Linear(stored.shape[0], stored.shape[1], bias=False, device="meta")
        return self._layer(_with_weights(linear, stored.T, None), x, self._weight_source(matrix))

    def _rewrite_batch_norm(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        mean, variance = self._stored(given.get("running_mean")), self._stored(given.get("running_var"))
        if given.get("training") or mean is None or variance is None:
            return None
        scale = torch.rsqrt(variance.double() + given.get("eps", 1e-5))
        weight, bias = self._stored(given.get("weight")), self._stored(given.get("bias"))
        scale = scale if weight is None else scale * weight.double()
        shift = -mean.double() * scale + (0 if bias is None else bias.double())
        affine = ChannelAffine(scale.to(mean), shift.to(mean))
        return self._layer(affine, given["input"], self.sources[given["running_mean"]])

    def _rewrite_group_norm(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        """Turn the weights into a per-channel layer behind the norm; one group of all channels stays as it is."""
        given = {**dict(zip(("input", "num_groups", "weight", "bias", "eps"), args, strict=False)), **kwargs}
        x, groups = given["input"], self._real(given["num_groups"])
        weight, bias = self._stored(given.get("weight")), self._stored(given.get("bias"))
        learned = [part for part in (given.get("weight"), given.get("bias")) if part is not None]
        if groups == 1 or not all(self._stored(part) is not None for part in learned):
            return None
        norm = self._emit("group_norm", (x, groups), {"eps": given.get("eps", 1e-5)})
        if not learned:
            return norm
        like = self.values[x].new_zeros(self.values[x].shape[1])
        scale = like + 1 if weight is None else weight.clone()
        return self._layer(ChannelAffine(scale, like if bias is None else bias.clone()), norm, self.sources[learned[0]])

    def _rewrite_add(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._scaled_sum("add", *args, **kwargs)

    def _rewrite_sub(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._scaled_sum("sub", *args, **kwargs)

    def _scaled_sum(self, name: str, input: Any, other: Any, *, alpha: Any = None, out: Any = None) -> fx.Node | None:
        if alpha is None or out is not None:
            return None
        return self._emit(name, (input, self._product(other, alpha)))

    def _product(self, one: Any, other: Any) -> fx.Node:
        product: fx.Node = self._store_all(self._folded(self._emit("mul", (one, other))))
        return product

    def _rewrite_addcmul(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = {**dict(zip(("input", "tensor1", "tensor2"), args, strict=False)), **kwargs}
        product = self._product(given["tensor1"], given["tensor2"])
        if given.get("value", 1) != 1:
            product = self._product(product, given["value"])
        return self._emit("add", (given["input"], product))

    def _rewrite_zeros(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._filled(torch.zeros, _dims(args, kwargs), kwargs)

    def _rewrite_ones(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._filled(torch.ones, _dims(args, kwargs), kwargs)

    def _rewrite_new_zeros(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._filled(self.values[args[0]].new_zeros, _dims(args[1:], kwargs), kwargs)

    def _rewrite_new_ones(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._filled(self.values[args[0]].new_ones, _dims(args[1:], kwargs), kwargs)

    def _filled(self, fill: Callable[..., Tensor], sizes: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        """Make one value for every image, channel and place a value per channel that is expanded."""
        if not isinstance(sizes, tuple) or len(sizes) < 2 or not isinstance(sizes[0], fx.Node):
            return None
        _, channels, *places = self._real(sizes)
        settings = {key: value for key, value in self._real(kwargs).items() if key not in ("size", "out")}
        vector = self._store(Constant(fill.__name__, fill((1, channels, *[1] * len(places)), **settings)))
        return self._emit("expand", (vector, (sizes[0], channels, *places)))

    def _rewrite_pad(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        """Give a padding of channels by a constant its arguments by position and its amounts as numbers."""
        given = {**dict(zip(("input", "pad", "mode", "value"), args, strict=False)), **kwargs}
        amounts = self._real(given["pad"])
        if len(amounts) <= 4 or not any(amounts[4:]) or given.get("mode", "constant") != "constant":
            return None
        return self._emit("pad", (given["input"], tuple(amounts), "constant", self._real(given.get("value"))))

    def _rewrite_prelu(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        weight = args[1] if len(args) > 1 else kwargs["weight"]
        slope = self._stored(weight)
        if slope is None:
            return None
        if slope.numel() == 1:
            return self._emit("leaky_relu", (args[0], float(slope)))
        return self._layer(ChannelPReLU(slope.clone()), args[0], self.sources[weight])

    def _stored(self, node: Any) -> Tensor | None:
        value = self.values[node] if isinstance(node, fx.Node) and node.op == "get_attr" else None
        return value if isinstance(value, Tensor) else None


def _with_weights(layer: nn.Conv2d | nn.Linear, weight: Tensor, bias: Tensor | None) -> nn.Module:
    layer.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
    return layer


def _dims(rest: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = rest or (kwargs.get("dims", kwargs.get("size")),)
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], (tuple, list)) else given

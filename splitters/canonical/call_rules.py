"""Rewriting calls of functions and methods that are not plain operations."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from splitters.canonical.builder import CanonicalBuilder
from splitters.canonical.constants import Constant
from splitters.canonical.layers import Convolution, convolution_of, linear_of
from splitters.canonical.operations import ChannelAffine, ChannelPReLU

_CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_TRANSPOSED_CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")

_EXTREMA = {"values": 0, "indices": 1}
"""The names of the results of ``torch.max`` and ``torch.min``."""


class CallRules(CanonicalBuilder):
    """One rule per call, named after it; a rule returns None if it cannot rewrite the call.

    A rule may return a tuple of nodes, of which later calls take one by its index or its name.
    """

    def _rewrite_reshape(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        shape = self._sizes(args[1:], kwargs)
        return None if isinstance(shape, torch.dtype) else self._emit("reshape", (args[0], shape))

    def _rewrite_permute(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        return self._emit("permute", (args[0], _dims(args[1:], kwargs)))

    def _rewrite_expand(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        return self._emit("expand", (args[0], self._sizes(args[1:], kwargs)))

    def _rewrite_view_as(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        other = _given(args, kwargs, "input", "other")["other"]
        return self._emit("reshape", (args[0], self._emit("size", (other,))))

    _rewrite_reshape_as = _rewrite_view_as

    def _rewrite_movedim(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        x, source, destination = _given(args, kwargs, "input", "source", "destination").values()
        # The permutation that moves axes moves them in a tensor whose sizes are their numbers, too.
        axes = torch.empty(tuple(range(self.values[x].dim()))).movedim(source, destination).shape
        return self._emit("permute", (x, tuple(axes)))

    def _rewrite_repeat(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        """Expand axes of size 1, and join copies along the others."""
        x: fx.Node = args[0]
        repeats = _dims(args[1:], {"dims": kwargs.get("repeats", kwargs.get("dims"))})
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
        repeats = _dims(args[1:], kwargs)
        return self._rewrite_repeat((args[0], *[1] * (self.values[args[0]].dim() - len(repeats)), *repeats), {})

    def _rewrite_repeat_interleave(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = _given(args, kwargs, "input", "repeats", "dim")
        x, count, dim = given["input"], given["repeats"], given.get("dim")
        if not isinstance(count, int) or not isinstance(dim, int):
            return None
        dim %= self.values[x].dim()
        sizes = tuple(count if axis == dim + 1 else -1 for axis in range(self.values[x].dim() + 1))
        return self._emit(
            "flatten", (self._emit("expand", (self._emit("unsqueeze", (x, dim + 1)), sizes)), dim, dim + 1)
        )

    def _rewrite_unbind(self, args: Any, kwargs: dict[str, Any]) -> Any:
        given = _given(args, kwargs, "input", "dim")
        x = given["input"]
        dim = given.get("dim", 0) % self.values[x].dim()
        before = (slice(None),) * dim
        return tuple(self._emit("getitem", (x, (*before, index))) for index in range(self.values[x].shape[dim]))

    def _rewrite_select(self, args: Any, kwargs: dict[str, Any]) -> Any:
        x, dim, index = _given(args, kwargs, "input", "dim", "index").values()
        before = (slice(None),) * (dim % self.values[x].dim())
        return self._emit("getitem", (x, (*before, index)))

    def _rewrite_softmin(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        given = _given(args, kwargs, "input", "dim")
        return self._emit("softmax", (self._emit("neg", (given["input"],)),), {"dim": given["dim"]})

    def _rewrite_adjoint(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        return self._emit("transpose", (args[0], -2, -1))

    def _rewrite_hstack(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        return self._emit("cat", (args[0], 1))

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

    def _rewrite_tensor_split(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = _given(args, kwargs, "input", "indices_or_sections", "dim")
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

    def _rewrite_conv1d(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._convolution(nn.Conv1d, _given(args, kwargs, *_CONVOLUTION))

    def _rewrite_conv2d(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._convolution(nn.Conv2d, _given(args, kwargs, *_CONVOLUTION))

    def _rewrite_conv_transpose2d(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._convolution(nn.ConvTranspose2d, _given(args, kwargs, *_TRANSPOSED_CONVOLUTION))

    def _convolution(self, kind: type[Convolution], given: dict[str, Any]) -> fx.Node | None:
        weight, bias = self._stored(given.get("weight")), self._stored(given.get("bias"))
        if weight is None or (bias is None and given.get("bias") is not None):
            return None
        groups = self._real(given.get("groups", 1))
        # The geometry alone: the numbers of channels follow from the weights.
        geometry = {name: value for name, value in given.items() if name not in ("input", "weight", "bias", "groups")}
        like = kind(1, 1, tuple(weight.shape[2:]), **geometry, device="meta")  # type: ignore[arg-type]
        layer = convolution_of(weight.detach().clone(), _copied(bias), like=like, groups=groups)
        return self._layer(layer, given["input"], self._weight_source(given["weight"]))

    def _rewrite_linear(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = _given(args, kwargs, "input", "weight", "bias")
        weight, bias = self._stored(given.get("weight")), self._stored(given.get("bias"))
        if weight is None or (bias is None and given.get("bias") is not None):
            return None
        layer = linear_of(weight.detach().clone(), _copied(bias))
        return self._layer(layer, given["input"], self._weight_source(given["weight"]))

    def _rewrite_matmul(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        """Turn the product of a tensor and a stored matrix into a linear layer."""
        x, matrix = (*args, kwargs.get("other"))[:2]
        stored = self._stored(matrix)
        if stored is None or stored.dim() != 2 or self._stored(x) is not None:
            return None
        return self._layer(linear_of(stored.T.clone(), None), x, self._weight_source(matrix))

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

    def _rewrite_group_norm(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        """Turn the weights into a per-channel layer behind the norm; one group of all channels stays as it is."""
        given = _given(args, kwargs, "input", "num_groups", "weight", "bias", "eps")
        x, groups, eps = given["input"], self._real(given["num_groups"]), given.get("eps", 1e-5)
        weight, bias = self._stored(given.get("weight")), self._stored(given.get("bias"))
        learned = [part for part in (given.get("weight"), given.get("bias")) if part is not None]
        if groups == 1 or not all(self._stored(part) is not None for part in learned):
            weights = {"weight": given.get("weight"), "bias": given.get("bias")}
            return self._emit("group_norm", (x, groups), {**weights, "eps": eps})
        norm = self._emit("group_norm", (x, groups), {"eps": eps})
        if not learned:
            return norm
        like = self.values[x].new_zeros(self.values[x].shape[1])
        scale = like + 1 if weight is None else weight.clone()
        return self._layer(ChannelAffine(scale, like if bias is None else bias.clone()), norm, self.sources[learned[0]])

    def _rewrite_clamp_min(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        given = _given(args, kwargs, "input", "min")
        return self._emit("clamp", (given["input"],), {"min": given["min"]})

    def _rewrite_clamp_max(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        given = _given(args, kwargs, "input", "max")
        return self._emit("clamp", (given["input"],), {"max": given["max"]})

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
        given = _given(args, kwargs, "input", "tensor1", "tensor2")
        product = self._product(given["tensor1"], given["tensor2"])
        if given.get("value", 1) != 1:
            product = self._product(product, given["value"])
        return self._emit("add", (given["input"], product))

    def _rewrite_addcdiv(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        given = _given(args, kwargs, "input", "tensor1", "tensor2")
        quotient = self._store_all(self._folded(self._emit("div", (given["tensor1"], given["tensor2"]))))
        if given.get("value", 1) != 1:
            quotient = self._product(quotient, given["value"])
        return self._emit("add", (given["input"], quotient))

    def _rewrite_lerp(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        given = _given(args, kwargs, "input", "end", "weight")
        start, end = given["input"], given["end"]
        return self._emit("add", (start, self._product(self._emit("sub", (end, start)), given["weight"])))

    def _rewrite_addmm(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = _given(args, kwargs, "input", "mat1", "mat2")
        product = self._rewrite_matmul((given["mat1"], given["mat2"]), {})
        if product is None or given.get("beta", 1) != 1 or given.get("alpha", 1) != 1:
            return None
        return self._emit("add", (product, given["input"]))

    def _rewrite_full_like(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = _given(args, kwargs, "input", "fill_value")
        if given.keys() != {"input", "fill_value"} or not self.values[given["input"]].is_floating_point():
            return None
        return self._emit("add", (self._emit("zeros_like", (given["input"],)), given["fill_value"]))

    def _rewrite_fill(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._rewrite_full_like((args[0], *args[1:], *kwargs.values()), {})

    def _rewrite_zero(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        return self._emit("zeros_like", (args[0],))

    def _rewrite_zeros(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._filled(torch.zeros, _dims(args, kwargs), kwargs)

    def _rewrite_ones(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._filled(torch.ones, _dims(args, kwargs), kwargs)

    def _rewrite_full(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._filled(
            torch.full, _dims(args[:1], kwargs), {"fill_value": args[1], **kwargs} if args[1:] else kwargs
        )

    def _rewrite_new_zeros(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._filled(self.values[args[0]].new_zeros, _dims(args[1:], kwargs), kwargs)

    def _rewrite_new_ones(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._filled(self.values[args[0]].new_ones, _dims(args[1:], kwargs), kwargs)

    def _rewrite_new_full(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = {"fill_value": args[2], **kwargs} if args[2:] else kwargs
        return self._filled(self.values[args[0]].new_full, _dims(args[1:2], kwargs), given)

    # What is allocated is overwritten by ``fill_`` or ``zero_``.
    _rewrite_empty, _rewrite_new_empty = _rewrite_zeros, _rewrite_new_zeros

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

    def _rewrite_pad(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        """Give a padding of channels by a constant its arguments by position and its amounts as numbers."""
        given = _given(args, kwargs, "input", "pad", "mode", "value")
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

    # Reductions

    def _rewrite_max(self, args: Any, kwargs: dict[str, Any]) -> Any:
        return self._extremum(("amax", "argmax", "maximum"), args, kwargs)

    def _rewrite_min(self, args: Any, kwargs: dict[str, Any]) -> Any:
        return self._extremum(("amin", "argmin", "minimum"), args, kwargs)

    def _extremum(self, names: tuple[str, str, str], args: Any, kwargs: dict[str, Any]) -> Any:
        given = _given(args, kwargs, "input", "dim", "keepdim")
        x, dim = given["input"], given.get("other", given.get("dim"))
        values, indices, of_two = names
        if isinstance(dim, fx.Node):
            return self._emit(of_two, (x, dim)) if isinstance(self.values[dim], Tensor) else None
        if dim is None:
            return self._emit(values, (x,))
        along = (x, dim, bool(given.get("keepdim", False)))
        return self._emit(values, along), self._emit(indices, along)

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
        given = _given(args, kwargs, "input", "dim", "unbiased", "keepdim")
        dim, unbiased = given.get("dim"), given.get("unbiased", True)
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        correction = given.get("correction", int(unbiased))
        settings = {"correction": 1 if correction is None else correction, "keepdim": given.get("keepdim", False)}
        return self._emit(name, (given["input"], dim), settings)

    def _mean_like(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        given = _given(args, kwargs, "input", "dim", "unbiased", "keepdim")
        dim = given.get("dim")
        return self._emit("mean", (given["input"], None if isinstance(dim, bool) else dim, given.get("keepdim", False)))

    def _rewrite_norm(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = _given(args, kwargs, "input", "p", "dim", "keepdim")
        order = given.get("p", 2)
        if order == "fro":
            order = 2
        if not isinstance(order, (int, float)) or given.get("dtype") or given.get("out") is not None:
            return None
        settings = {"ord": order, "dim": given.get("dim"), "keepdim": given.get("keepdim", False)}
        return self._emit("vector_norm", (given["input"],), settings)

    def _rewrite_numel(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        (sizes,) = args
        if isinstance(self.values[sizes], Tensor):
            sizes = self._emit("size", (sizes,))
        parts = [self._emit("getitem", (sizes, index)) for index in range(len(self.values[sizes]))]
        return functools.reduce(lambda one, other: self._emit("mul", (one, other)), parts) if parts else None

    # Rearrangements

    def _rewrite_stack(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = _given(args, kwargs, "tensors", "dim")
        tensors, dim = given["tensors"], given.get("dim", 0)
        if not isinstance(tensors, (tuple, list)):
            return None
        dim %= self.values[tensors[0]].dim() + 1
        axis = max(dim, 1)
        stacked = self._emit("cat", (tuple(self._emit("unsqueeze", (part, axis)) for part in tensors), axis))
        # Images stay first where the tensors are only stacked to be reduced again.
        return self._emit("transpose", (stacked, 0, 1)) if dim == 0 else stacked

    def _rewrite_flip(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        return self._emit("flip", (args[0], tuple(_dims(args[1:], kwargs))))

    def _rewrite_pixel_shuffle(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = _given(args, kwargs, "input", "upscale_factor")
        return self._of_images("pixel_shuffle", given["input"], given["upscale_factor"])

    def _rewrite_pixel_unshuffle(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = _given(args, kwargs, "input", "downscale_factor")
        return self._of_images("pixel_unshuffle", given["input"], given["downscale_factor"])

    def _of_images(self, name: str, x: fx.Node, factor: int) -> fx.Node | None:
        return self._emit(name, (x, factor)) if self.values[x].dim() == 4 else None

    def _rewrite_channel_shuffle(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = _given(args, kwargs, "input", "groups")
        x, groups = given["input"], given["groups"]
        if self.values[x].dim() != 4:
            return None
        batch, height, width = (self._emit("size", (x, axis)) for axis in (0, 2, 3))
        x = self._emit("transpose", (self._emit("reshape", (x, (batch, groups, -1, height, width))), 1, 2))
        return self._emit("reshape", (x, (batch, -1, height, width)))

    # Element by element

    def _rewrite_where(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        """Put the condition first; the method of tensors has it second."""
        if kwargs or len(args) != 3:
            return None
        first, second, other = args
        is_method = isinstance(second, fx.Node) and self._is_condition(second) and not self._is_condition(first)
        return self._emit("where", (second, first, other) if is_method else args)

    def _rewrite_masked_fill(self, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        given = _given(args, kwargs, "input", "mask", "value")
        return self._emit("where", (given["mask"], given["value"], given["input"]))

    def _is_condition(self, node: Any) -> bool:
        value = self.values.get(node) if isinstance(node, fx.Node) else None
        return isinstance(value, Tensor) and value.dtype == torch.bool

    def _rewrite_glu(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = _given(args, kwargs, "input", "dim")
        x, dim = given["input"], given.get("dim", -1)
        halves = self._split(x, [self.values[x].shape[dim] // 2] * 2, dim)
        value, gate = (self._emit("getitem", (halves, index)) for index in range(2))
        return self._emit("mul", (value, self._emit("sigmoid", (gate,))))

    def _rewrite_instance_norm(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        names = ("input", "running_mean", "running_var", "weight", "bias", "use_input_stats", "momentum", "eps")
        given = _given(args, kwargs, *names)
        if not given.pop("use_input_stats", True):
            return self._rewrite_batch_norm((), given)
        weight, bias = (self._stored(given.get(name)) for name in ("weight", "bias"))
        if any(part is None and given.get(name) is not None for name, part in (("weight", weight), ("bias", bias))):
            return None
        learned = [part for part in (given.get("weight"), given.get("bias")) if part is not None]
        name = self.sources[learned[0]] if learned else ""
        return self._instance_norm(given["input"], weight, bias, given.get("eps", 1e-5), name)

    def _instance_norm(self, x: fx.Node, weight: Tensor | None, bias: Tensor | None, eps: float, name: str) -> fx.Node:
        new = self._emit("instance_norm", (x,), {"eps": eps})
        if weight is None and bias is None:
            return new
        size = self.values[x].shape[1]
        scale = torch.ones(size) if weight is None else weight.detach().clone()
        shift = torch.zeros(size) if bias is None else bias.detach().clone()
        return self._layer(ChannelAffine(scale.to(self.values[x]), shift.to(self.values[x])), new, name)

    def _stored(self, node: Any) -> Tensor | None:
        value = self.values[node] if isinstance(node, fx.Node) and node.op == "get_attr" else None
        return value if isinstance(value, Tensor) else None


def _given(args: Any, kwargs: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return the arguments of a call by name."""
    return {**dict(zip(names, args, strict=False)), **kwargs}


def _copied(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach().clone()


def _dims(rest: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = rest or (kwargs.get("dims", kwargs.get("size")),)
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], (tuple, list)) else given

"""Calls that hold weights: convolutions, linear layers and norms."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn

from splitters.canonical.builder import CanonicalBuilder
from splitters.canonical.call_rules.arguments import by_name, copied
from splitters.canonical.layers import Convolution, convolution_of, linear_of
from splitters.canonical.operations import ChannelAffine, ChannelPReLU

_CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_TRANSPOSED_CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")


class LayerRules(CanonicalBuilder):
    """One rule per call; see ``CallRules``."""

    def _rewrite_conv1d(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._convolution(nn.Conv1d, by_name(args, kwargs, *_CONVOLUTION))

    def _rewrite_conv2d(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._convolution(nn.Conv2d, by_name(args, kwargs, *_CONVOLUTION))

    def _rewrite_conv_transpose2d(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._convolution(nn.ConvTranspose2d, by_name(args, kwargs, *_TRANSPOSED_CONVOLUTION))

    def _convolution(self, kind: type[Convolution], given: dict[str, Any]) -> fx.Node | None:
        weight, bias = self._stored(given.get("weight")), self._stored(given.get("bias"))
        if weight is None or (bias is None and given.get("bias") is not None):
            return None
        groups = self._real(given.get("groups", 1))
        # The geometry alone: the numbers of channels follow from the weights.
        geometry = {name: value for name, value in given.items() if name not in ("input", "weight", "bias", "groups")}
        like = kind(1, 1, tuple(weight.shape[2:]), **geometry, device="meta")  # type: ignore[arg-type]
        layer = convolution_of(weight.detach().clone(), copied(bias), like=like, groups=groups)
        return self._layer(layer, given["input"], self._weight_source(given["weight"]))

    def _rewrite_linear(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = by_name(args, kwargs, "input", "weight", "bias")
        weight, bias = self._stored(given.get("weight")), self._stored(given.get("bias"))
        if weight is None or (bias is None and given.get("bias") is not None):
            return None
        layer = linear_of(weight.detach().clone(), copied(bias))
        return self._layer(layer, given["input"], self._weight_source(given["weight"]))

    def _rewrite_matmul(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        """Turn the product of a tensor and a stored matrix or vector into a linear layer."""
        x, matrix = (*args, kwargs.get("other"))[:2]
        stored = self._stored(matrix)
        if stored is None or stored.dim() not in (1, 2) or self._stored(x) is not None:
            return None
        weight = stored.T if stored.dim() == 2 else stored[None]
        product = self._layer(linear_of(weight.clone(), None), x, self._weight_source(matrix))
        return product if stored.dim() == 2 else self._emit("squeeze", (product, -1))

    def _rewrite_mm(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._product_of_two(by_name(args, kwargs, "input", "mat2"))

    def _rewrite_mv(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        return self._product_of_two(by_name(args, kwargs, "input", "vec"))

    def _product_of_two(self, given: dict[str, Any]) -> fx.Node | None:
        if len(given) != 2:  # further settings
            return None
        factors = tuple(given.values())
        return self._rewrite_matmul(factors, {}) or self._emit("matmul", factors)

    def _rewrite_addmm(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        given = by_name(args, kwargs, "input", "mat1", "mat2")
        product = self._rewrite_matmul((given["mat1"], given["mat2"]), {})
        if product is None or given.get("beta", 1) != 1 or given.get("alpha", 1) != 1:
            return None
        return self._emit("add", (product, given["input"]))

    def _rewrite_batch_norm(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
        given = by_name(args, kwargs, *names)
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
        given = by_name(args, kwargs, "input", "num_groups", "weight", "bias", "eps")
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

    def _rewrite_instance_norm(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        names = ("input", "running_mean", "running_var", "weight", "bias", "use_input_stats", "momentum", "eps")
        given = by_name(args, kwargs, *names)
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

    def _rewrite_prelu(self, args: Any, kwargs: dict[str, Any]) -> fx.Node | None:
        weight = args[1] if len(args) > 1 else kwargs["weight"]
        slope = self._stored(weight)
        if slope is None:
            return None
        if slope.numel() == 1:
            return self._emit("leaky_relu", (args[0], float(slope)))
        return self._layer(ChannelPReLU(slope.clone()), args[0], self.sources[weight])

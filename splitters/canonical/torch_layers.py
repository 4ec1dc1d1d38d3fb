"""The canonical form of ``torch.nn`` modules: a call, an alias of the input, or folded into a layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

ALIASES_OF_INPUT: frozenset[type[nn.Module]] = frozenset({
    nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
})  # fmt: skip
"""Modules that return their input in eval mode."""

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm)

INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d)

Call = tuple[str, tuple[Any, ...], dict[str, Any]]
"""An operation's name, its arguments after the input, and its keyword arguments."""


def _call(name: str, *attributes: str, **named: str) -> Callable[[Any], Call]:
    return lambda module: (
        name,
        tuple(getattr(module, key) for key in attributes),
        {key: getattr(module, attribute) for key, attribute in named.items()},
    )


def _pool(name: str, *extra: str) -> Callable[[Any], Call]:
    return lambda module: (
        name,
        (module.kernel_size, module.stride, module.padding, *(getattr(module, key) for key in extra)),
        {},
    )


def _max_pool(module: Any) -> Call:
    named = {"dilation": module.dilation, "ceil_mode": module.ceil_mode}
    if module.return_indices:
        named["return_indices"] = True
    return "max_pool2d", (module.kernel_size, module.stride, module.padding), named


def _max_pool1d(module: Any) -> Call:
    return "max_pool1d", *_max_pool(module)[1:]


def _adaptive_max_pool(module: Any) -> Call:
    name = f"adaptive_max_pool{type(module).__name__[-2]}d"
    return name, (module.output_size,), {"return_indices": True} if module.return_indices else {}


def _interpolate(module: Any) -> Call:
    named = {"size": module.size, "scale_factor": module.scale_factor, "mode": module.mode}
    recompute = {"recompute_scale_factor": True} if module.recompute_scale_factor else {}
    return "interpolate", (), {**named, "align_corners": module.align_corners, **recompute}


def _pad(mode: str) -> Callable[[Any], Call]:
    return lambda module: (
        "pad",
        (tuple(module.padding), mode),
        {"value": module.value} if mode == "constant" and hasattr(module, "value") else {},
    )


MODULE_CALLS: dict[type[nn.Module], Callable[[Any], Call]] = {
    nn.ReLU: _call("relu"),
    nn.ReLU6: _call("relu6"),
    nn.LeakyReLU: _call("leaky_relu", "negative_slope"),
    nn.RReLU: lambda module: ("leaky_relu", ((module.lower + module.upper) / 2,), {}),
    nn.ELU: _call("elu", "alpha"),
    nn.SELU: _call("selu"),
    nn.CELU: _call("celu", "alpha"),
    nn.GELU: _call("gelu", approximate="approximate"),
    nn.SiLU: _call("silu"),
    nn.Mish: _call("mish"),
    nn.Hardswish: _call("hardswish"),
    nn.Hardsigmoid: _call("hardsigmoid"),
    nn.Hardtanh: _call("hardtanh", "min_val", "max_val"),
    nn.Softplus: _call("softplus", "beta", "threshold"),
    nn.Softsign: _call("softsign"),
    nn.LogSigmoid: _call("logsigmoid"),
    nn.Softshrink: _call("softshrink", "lambd"),
    nn.Hardshrink: _call("hardshrink", "lambd"),
    nn.Tanhshrink: _call("tanhshrink"),
    nn.Threshold: _call("threshold", "threshold", "value"),
    nn.Sigmoid: _call("sigmoid"),
    nn.Tanh: _call("tanh"),
    nn.Softmax2d: lambda module: ("softmax", (), {"dim": -3}),
    nn.GLU: _call("glu", "dim"),
    nn.MaxPool1d: _max_pool1d,
    nn.AvgPool1d: _pool("avg_pool1d", "ceil_mode", "count_include_pad"),
    nn.AdaptiveAvgPool1d: _call("adaptive_avg_pool1d", "output_size"),
    nn.AdaptiveMaxPool1d: _adaptive_max_pool,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _pool("avg_pool2d", "ceil_mode", "count_include_pad", "divisor_override"),
    nn.LPPool2d: _call("lp_pool2d", "norm_type", "kernel_size", "stride", "ceil_mode"),
    nn.AdaptiveAvgPool2d: _call("adaptive_avg_pool2d", "output_size"),
    nn.AdaptiveMaxPool2d: _adaptive_max_pool,
    nn.Upsample: _interpolate,
    nn.UpsamplingNearest2d: _interpolate,
    nn.UpsamplingBilinear2d: _interpolate,
    **{
        getattr(nn, f"{name}Pad{axes}d"): _pad(mode)
        for name, mode in (
            ("Zero", "constant"),
            ("Constant", "constant"),
            ("Reflection", "reflect"),
            ("Replication", "replicate"),
            ("Circular", "circular"),
        )
        for axes in (1, 2, 3)
    },
    nn.Flatten: _call("flatten", "start_dim", "end_dim"),
    nn.Unflatten: _call("unflatten", "dim", "unflattened_size"),
    nn.PixelShuffle: _call("pixel_shuffle", "upscale_factor"),
    nn.PixelUnshuffle: _call("pixel_unshuffle", "downscale_factor"),
    nn.ChannelShuffle: _call("channel_shuffle", "groups"),
    nn.Softmin: _call("softmin", dim="dim"),
    nn.Softmax: _call("softmax", dim="dim"),
    nn.LogSoftmax: _call("log_softmax", dim="dim"),
    nn.LayerNorm: _call("layer_norm", "normalized_shape", weight="weight", bias="bias", eps="eps"),
    nn.RMSNorm: _call("rms_norm", "normalized_shape", weight="weight", eps="eps"),
    nn.GroupNorm: _call("group_norm", "num_groups", weight="weight", bias="bias", eps="eps"),
    nn.LocalResponseNorm: _call("local_response_norm", "size", "alpha", "beta", "k"),
}
"""The operation and the arguments of each type of module."""


def affine_of_batch_norm(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return the scale and shift, in float64, that a norm with running statistics applies in eval mode."""
    assert isinstance(norm, (*BATCH_NORMS, *INSTANCE_NORMS))
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = torch.rsqrt(norm.running_var.double() + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double()
    shift = -norm.running_mean.double() * scale
    if norm.bias is not None:
        shift = shift + norm.bias.detach().double()
    return scale, shift


def fold_affine(layer: nn.Conv1d | nn.Conv2d | nn.Linear, scale: Tensor, shift: Tensor) -> None:
    """Change a layer so that its output is scaled and shifted per output channel; computed in float64."""
    weight = layer.weight
    bias = torch.zeros_like(shift) if layer.bias is None else layer.bias.double() * scale
    folded = weight.double() * scale.view(-1, *[1] * (weight.dim() - 1))
    layer.weight = nn.Parameter(folded.to(weight), requires_grad=False)
    layer.bias = nn.Parameter((bias + shift).to(weight), requires_grad=False)

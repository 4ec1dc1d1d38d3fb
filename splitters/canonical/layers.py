"""The layers with weights of a canonical graph, built from given tensors."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

Convolution = nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d
"""A layer whose output channels are kernels."""

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)

_MANY_WEIGHTS = 1 << 20
"""Weights from which a linear layer is worth oneDNN's call: those of nets from a quarter of the papers' width on."""

_MANY_IMAGES = 8
"""Rows below which reading the weights takes the time."""

_linear = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None

_Network = TypeVar("_Network", bound=nn.Module)


class _Given:
    """A layer without the slow initialisation of weights, which are assigned."""

    def reset_parameters(self) -> None:
        pass

    def _get_name(self) -> str:
        return type(self).__bases__[1].__name__


class _GivenLinear(_Given, nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        if _saves_time(x, self.weight):
            return _frozen_linear(x, self.weight, self.bias)
        return super().forward(x)


class _GivenConv1d(_Given, nn.Conv1d):
    pass


class _GivenConv2d(_Given, nn.Conv2d):
    pass


class _GivenConvTranspose2d(_Given, nn.ConvTranspose2d):
    pass


def linear_of(weight: Float[Tensor, "output input"], bias: Float[Tensor, " output"] | None) -> nn.Linear:
    """Return a linear layer with these tensors as frozen parameters, which are shared, not copied."""
    layer = _GivenLinear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    _adopt(layer, weight, bias)
    return layer


def convolution_of(
    weight: Float[Tensor, ...], bias: Float[Tensor, " output"] | None, *, like: Convolution, groups: int
) -> Convolution:
    """Return a convolution with these tensors as frozen parameters, and the kind and geometry of another one.

    Args:
        weight: ``[output, input of a group, ...]``; for a transposed convolution, ``[input, output of a group, ...]``.
        bias: The bias, if any.
        like: The convolution whose geometry is copied.
        groups: The number of groups.
    """
    layer: Convolution
    if isinstance(like, nn.ConvTranspose2d):
        layer = _GivenConvTranspose2d(
            weight.shape[0], weight.shape[1] * groups, like.kernel_size, like.stride, like.padding,  # type: ignore[arg-type]
            like.output_padding, groups, bias is not None, like.dilation, device="meta",  # type: ignore[arg-type]
        )  # fmt: skip
    else:
        kind = _GivenConv1d if isinstance(like, nn.Conv1d) else _GivenConv2d
        layer = kind(
            weight.shape[1] * groups, weight.shape[0], like.kernel_size, like.stride, like.padding, like.dilation,  # type: ignore[arg-type]
            groups, bias is not None, like.padding_mode, device="meta",
        )  # fmt: skip
    _adopt(layer, weight, bias)
    return layer


def _adopt(layer: Convolution | nn.Linear, weight: Tensor, bias: Tensor | None) -> None:
    layer.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias, requires_grad=False)


def plain_kind(module: nn.Module) -> type[Convolution] | type[nn.Linear] | None:
    """Return the type of layer that a module computes as, or None if it has a forward of its own.

    A layer whose weight is computed (weight norm, spectral norm, any parametrisation) is such a layer.
    """
    for kind in (*CONVOLUTIONS, nn.Linear):
        methods = ("forward", "_conv_forward", "_output_padding")
        if isinstance(module, kind):
            own = not isinstance(module, _GivenLinear) and any(
                getattr(type(module), name, None) is not getattr(kind, name, None) for name in methods
            )
            return None if own or "forward" in vars(module) else kind
    return None


def plain_layer(module: nn.Module) -> Convolution | nn.Linear:
    """Return a new layer with a copy of the weight and bias that a module with a ``plain_kind`` applies."""
    assert isinstance(module, (*CONVOLUTIONS, nn.Linear))
    weight, bias = (None if part is None else part.detach().clone() for part in (module.weight, module.bias))
    assert weight is not None
    if isinstance(module, nn.Linear):
        return linear_of(weight, bias)
    return convolution_of(weight, bias, like=module, groups=module.groups)


def _saves_time(x: Tensor, weight: Tensor) -> bool:
    """Return whether ``_frozen_linear`` can compute a layer faster than torch does.

    torch computes float32 matrix products on CPUs with MKL, which reached half of oneDNN's speed on the AMD processor
    that we measured; see docs/speed.md.
    """
    return (
        _linear is not None
        # Tracers, and tensors without values, need torch's own operator.
        and type(x) is Tensor
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and not torch.compiler.is_compiling()
        and weight.numel() >= _MANY_WEIGHTS
        and x.dim() == 2
        and len(x) >= _MANY_IMAGES
        and x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not weight.requires_grad
        and not torch.is_autocast_enabled("cpu")
    )


def _frozen_linear(
    x: Float[Tensor, "batch input"], weight: Float[Tensor, "output input"], bias: Float[Tensor, " output"] | None
) -> Float[Tensor, "batch output"]:
    """Return what ``torch.nn.functional.linear`` returns, but for rounding; gradients flow to ``x`` alone."""
    outputs: Tensor = _FrozenLinear.apply(x, weight, bias)
    return outputs


class _FrozenLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.weight = weight
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _product(gradients[0], ctx.weight.t(), None), None, None


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    assert _linear is not None, "_saves_time checks that it is there"
    outputs: Tensor = _linear(x, weight, bias, "none", [], "")
    return outputs


def in_channels_last(network: _Network) -> _Network:
    """Return the network itself, with all tensors of four axes in ``channels_last`` memory order."""
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.dim() == 4:  # of five axes there may be tensors as well, for which the order is another
            tensor.data = tensor.data.to(memory_format=torch.channels_last)
    return network

"""Control flow while a model is traced: sizes are numbers, pixels and the number of images are not."""

import importlib
import math
import re
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from beartype import beartype
from exactness import assert_exact, images, maskable
from jaxtyping import Float, jaxtyped
from small_nets import Between, Whole, conv
from torch import Tensor, nn
from torch.autograd import Variable

from splitters.errors import GraphError
from splitters.graph.channel_graph import ChannelGraph

_BATCH = images(2, 3, 8, 8)


def _checked(net: Between, x: Tensor) -> Tensor:
    assert x.shape[1] == 8, "eight channels"
    assert x.dim() == 4
    assert x.dim() in (3, 4)
    assert len(x.shape) == x.ndim == 4
    assert x.shape[0] > 0
    assert f"{x.shape[0]:3d} images, {x.shape[1]:3d} channels".endswith("8 channels")
    torch._check(x.shape[1] == 8)
    torch._check_value(x.dim() == 4, lambda: "four axes")
    assert x.shape[2:] == x.size()[-2:]
    assert 8 in x.shape
    if x.shape[-1] > 16:
        raise ValueError("too large")
    return x


def _same_padding(net: Between, x: Tensor) -> Tensor:
    height, width = x.size()[-2:]
    tall = max((math.ceil(height / 2) - 1) * 2 + 3 - height, 0)
    wide = max((-(width // -2) - 1) * 2 + 3 - width, 0)
    if tall > 0 or wide > 0:
        x = F.pad(x, [wide // 2, wide - wide // 2, tall // 2, tall - tall // 2])
    return F.max_pool2d(x, 3, 2)


def _constants(net: Between, x: Tensor) -> Tensor:
    row = torch.arange(x.shape[3], device=x.device, dtype=x.dtype)
    return x + row if x.is_floating_point() and x.device.type == "cpu" and not x.requires_grad else x


def _loops(net: Between, x: Tensor) -> Tensor:
    for axis in range(2, x.ndim):
        x = x.flip(axis)
    for size in x.shape[2:]:
        x = x * size
    for _ in range(x.size(2) // 4):
        x = x.relu()
    total = 0
    for part in x.chunk(2, 3):
        total = total + part
    return total


def _rounding(net: Between, x: Tensor) -> Tensor:
    half = int(x.size(2) / 2) + round(x.size(3) * 0.1) + math.floor(x.size(3) / 16)
    return x[:, :, :half] * float(x.size(3)) ** 0.5


def _numpys_numbers(net: Between, x: Tensor) -> Tensor:
    flat = x.view(-1, int(np.prod(x.shape[1:]))).view(x.size(0), np.prod(x.shape[1:3]), 8)
    return (flat * np.float32(2)).view(x.shape) / torch.tensor(x.shape[-1]) * torch.tensor([x.size(2), 3])[0]


def _numpy_on_sizes(net: Between, x: Tensor) -> Tensor:
    x = np.sqrt(2) * x / np.sqrt(x.size(-1)) + torch.from_numpy(np.arange(x.shape[-1])).float()
    return F.adaptive_avg_pool2d(F.pad(x, divmod(x.size(3), 7)), (np.array(x.shape[2:]) // 2).tolist())


def _asked_for_kinds(net: Between, x: Tensor) -> Tensor:
    return x * 2 if torch.is_tensor(x) and (x if x.is_contiguous() else x.contiguous()).dim() == 4 else x


def _checked_types(net: Between, x: Tensor) -> Tensor:
    def doubled(x: Float[Tensor, "batch 8 height width"]) -> Float[Tensor, "batch 8 height width"]:
        return x.tensors * 2 if hasattr(x, "tensors") else torch.as_tensor(x, dtype=x.dtype) * 2

    return torch.as_tensor(jaxtyped(doubled, typechecker=beartype)(x)) + torch.as_tensor([x.shape[1], 2.0])[1]


def _weight_decides(net: Between, x: Tensor) -> Tensor:
    return x * 2 if net.conv.weight.shape[0] == 8 and net.conv.bias.ndim == 1 else x


def _variables(net: Between, x: Tensor) -> Tensor:
    x = Variable(x, requires_grad=False)
    padded = torch.cat([x, torch.autograd.Variable(torch.zeros(x.size(0), 2, x.size(2), x.size(3)))], 1)
    return padded[:, :8] * Variable(torch.ones(1))


@pytest.mark.parametrize(
    "show",
    [
        _checked,
        _same_padding,
        _constants,
        _loops,
        _rounding,
        _numpys_numbers,
        _numpy_on_sizes,
        _asked_for_kinds,
        _checked_types,
        _weight_decides,
        _variables,
    ],
    ids=lambda show: show.__name__,
)
def test_control_flow_over_sizes_is_followed(show: Callable[..., Tensor]) -> None:
    assert maskable(assert_exact(Between(show), _BATCH)) == {"conv": 8, "last": 6}


def test_the_other_branch_is_taken_for_other_images() -> None:
    net = Between(lambda net, x: x * 2 if x.shape[-1] > 8 else x)
    for size in (8, 9):
        assert_exact(net, images(2, 3, size, size))


def test_a_channel_count_that_python_computed_with_stays_as_it_was() -> None:
    graph = assert_exact(Between(lambda net, x: x / math.sqrt(x.shape[1])), _BATCH)
    assert maskable(graph) == {"conv": 8, "last": 6}


class _Defaults(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = conv(3, 8)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor, mask: Tensor | None = None, *, scaled: bool = True) -> Tensor:
        x = self.conv(x if mask is None else x * mask)
        return self.fc((x * 2 if scaled else x).mean((2, 3)))


def test_further_arguments_take_their_defaults() -> None:
    assert maskable(assert_exact(_Defaults(), _BATCH)) == {"conv": 8}


class _Inner(nn.Module):
    def __init__(self, run: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)


def _first_image(x: Tensor) -> Tensor:
    return torch.stack([image.relu() for image in x])


def _positive(x: Tensor) -> Tensor:
    return x if x.sum().item() > 0 else -x


def _loud(x: Tensor) -> Tensor:
    return x if float(x.abs().max()) > 1 else x * 2


def _full(x: Tensor) -> Tensor:
    return x if x.size(0) == 2 else x * 2


def _assigning(x: Tensor) -> Tensor:
    x = x.relu()
    x[:, :, 0] = 0
    return x


@pytest.mark.parametrize(
    ("run", "cause"),
    [
        (_positive, "its forward branches on values of tensors (node 'gt')"),
        (_loud, "its forward computes on values of tensors (node 'max_1')"),
        (_full, "its forward branches on the number of images (node 'eq')"),
        (_assigning, "its forward assigns to a part of the tensor 'relu'; use torch.where, torch.cat or F.pad."),
        (_first_image, "its forward loops over the images of a batch"),
        (lambda x: torch.from_numpy(x.detach().cpu().numpy()), "its forward computes by NumPy on values of tensors"),
        (lambda x: x + sum(range(x.size(0))), "its forward computes on the number of images (node 'size')"),
    ],
)
def test_what_images_decide_is_refused_with_the_layer_and_the_cause(
    run: Callable[[Tensor], Tensor], cause: str
) -> None:
    net = Between(lambda net, x: net.inner(x), inner=nn.Sequential(nn.ReLU(), _Inner(run)))
    with pytest.raises(GraphError) as error:
        ChannelGraph.trace(net, _BATCH)
    assert f"cannot be traced by torch.fx: in layer 'inner.1' (_Inner): {cause}" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_dropout_that_never_ends_has_a_message_of_its_own() -> None:
    net = Between(lambda net, x: net.inner(x), inner=_Inner(lambda x: F.dropout(x, 0.5)))
    with pytest.raises(
        GraphError, match=re.escape("(dropout) of layer 'inner' (_Inner): dropout drops values in eval")
    ):
        ChannelGraph.trace(net, _BATCH)
    net = Between(lambda net, x: net.inner(x), inner=_Inner(lambda x: F.rrelu(x, training=True)))
    with pytest.raises(GraphError, match="rrelu draws random slopes in eval mode as well"):
        ChannelGraph.trace(net, _BATCH)
    assert_exact(Between(lambda net, x: F.dropout(x, 0.0) + F.alpha_dropout(x, 0.5)), _BATCH)


_Kind = TypeVar("_Kind")


class _Generic(_Inner, Generic[_Kind]):
    """A layer one of whose classes, ``Generic``, is of the standard library."""


def test_builtins_are_replaced_in_a_models_files_and_not_in_the_standard_library() -> None:
    replaced = []

    def look(x: Tensor) -> Tensor:
        replaced.append(("isinstance" in globals(), "isinstance" in vars(typing)))
        return x

    ChannelGraph.trace(Between(lambda net, x: net.inner(x), inner=_Generic(look)), _BATCH)
    assert (True, False) in replaced
    assert all(not of_typing for _, of_typing in replaced)


def test_a_network_of_a_script_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "another_name", sys.modules[__name__])  # as a script is __mp_main__, too
    inner = _Inner(lambda x: x if isinstance(x, Tensor) and isinstance(x, Variable) else -x)
    assert_exact(Between(lambda net, x: net.inner(x), inner=inner), _BATCH)


def test_layers_made_in_a_forward_are_traced() -> None:
    def show(net: Between, x: Tensor) -> Tensor:
        x = nn.Sequential(nn.ReLU(), nn.MaxPool2d(kernel_size=x.size(2) // 4))(x)
        return nn.AvgPool2d(x.size(2))(x) + x

    assert maskable(assert_exact(Between(show), _BATCH)) == {"conv": 8, "last": 6}
    with pytest.raises(GraphError, match=r"dropout drops values in eval mode as well"):
        ChannelGraph.trace(Between(lambda net, x: nn.Dropout()(x)), _BATCH)


def _doubled(x: Tensor) -> Tensor:
    return x * 2


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated")
def test_a_torchscript_function_is_named_as_the_cause() -> None:
    scripted = torch.jit.script(_doubled)
    with pytest.raises(GraphError, match="its forward calls a TorchScript function; call the Python function"):
        ChannelGraph.trace(Between(lambda net, x: scripted(x)), _BATCH)


def test_a_parameter_that_a_closure_holds_is_a_constant() -> None:
    scale = nn.Parameter(torch.linspace(-1, 1, 8).view(8, 1, 1))
    assert maskable(assert_exact(Between(lambda net, x: x * scale), _BATCH)) == {"conv": 8, "last": 6}


def test_torch_is_as_before_after_tracing() -> None:
    before = torch.zeros, torch.tensor, Tensor.expand, "expand" in vars(Tensor)
    assert_exact(Between(lambda net, x: x + torch.zeros(x.size(0), 1, 1, 1)), _BATCH)
    assert before == (torch.zeros, torch.tensor, Tensor.expand, "expand" in vars(Tensor))


def test_numpy_may_choose_channels_by_weights() -> None:
    def show(net: Between, x: Tensor) -> Tensor:
        chosen = np.squeeze(np.argwhere(net.chosen.data.cpu().numpy()))
        return x[:, chosen, :, :]

    net = Between(show, 5, chosen=nn.Parameter(torch.tensor([1.0, 0, 1, 1, 0, 1, 1, 0])))
    assert maskable(assert_exact(net, _BATCH)) == {"conv": 0, "last": 6}


def test_a_hook_may_keep_arrays_of_what_images_show() -> None:
    kept = []
    net = Between(lambda net, x: net.inner(x), inner=_Inner(torch.relu))
    net.inner.register_forward_hook(lambda module, args, output: kept.append(output.detach().cpu().numpy()))
    assert maskable(assert_exact(net, _BATCH)) == {"conv": 8, "last": 6}


def test_an_output_of_several_tensors_is_named() -> None:
    net = Whole(lambda net, x: {"logits": net.conv(x).mean((2, 3))}, conv=conv(3, 4))
    with pytest.raises(GraphError, match="the model returns a dict; it must return one tensor of logits"):
        ChannelGraph.trace(net, _BATCH)


_HELPER = """
from torch import Tensor

def pooled(x):
    return x.mean((2, 3)).view(len(x), -1) if isinstance(x, Tensor) else None
"""
_NET = """
from torch import nn
from {helper} import pooled

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 6, 3), nn.Linear(6, 4)

    def forward(self, x):
        return self.fc(pooled(self.conv(x).relu()))
"""


@pytest.mark.parametrize(("net", "helper"), [("own_net", "own_helper"), ("own_lab.nets.net", "own_lab.helper")])
def test_code_beside_a_models_classes_is_traced_as_theirs(
    net: str, helper: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in ((net, _NET.format(helper=helper)), (helper, _HELPER)):
        file = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert_exact(importlib.import_module(net).Net(), _BATCH)
    finally:
        for name in [name for name in sys.modules if name.startswith("own_")]:
            del sys.modules[name]


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = conv(3, 8)
        self.lstm = nn.LSTM(8, 5, batch_first=True)
        self.fc = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        _, (hidden, _) = self.lstm(self.conv(x).mean(2).transpose(1, 2))
        return self.fc(hidden[-1])


def test_nested_results_keep_their_places() -> None:
    graph = ChannelGraph.trace(_Recurrent(), _BATCH)
    assert maskable(graph) == {"conv": 0}
    assert "lstm (LSTM): an unknown operation; always kept: 8 of conv" in graph.explain()


def test_attention_whose_second_result_is_none_is_followed() -> None:
    net = Between(
        lambda net, x: net.mix(*[x.flatten(2).transpose(1, 2)] * 3, need_weights=False)[0].transpose(1, 2).unsqueeze(2),
        mix=nn.MultiheadAttention(8, 2, batch_first=True),
    )
    assert maskable(ChannelGraph.trace(net, _BATCH)) == {"conv": 0, "last": 6}


def test_a_convolution_over_three_axes_freezes_what_it_reads() -> None:
    net = Between(lambda net, x: net.other(x.unsqueeze(2)).squeeze(2), other=nn.Conv3d(8, 8, 1))
    assert maskable(assert_exact(net, _BATCH)) == {"conv": 0, "last": 6}


def test_a_model_that_fails_on_images_says_so_in_one_line() -> None:
    def fail(net: Whole, x: Tensor) -> Tensor:
        raise KeyError("first line\nsecond line")

    with pytest.raises(GraphError) as error:
        ChannelGraph.trace(Whole(fail), _BATCH)
    assert (
        str(error.value) == "the model does not take images of shape [2, 3, 8, 8]: KeyError: 'first line\\nsecond line'"
    )

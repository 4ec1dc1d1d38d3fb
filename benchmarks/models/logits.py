"""Which logit of a given network is which class, and networks with some of their logits only."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import yaml
from torch import Tensor, nn

from benchmarks.models.inference import evaluating
from splitters.errors import ConfigurationError
from splitters.settings import normalise_class_name


def read_class_map(path: Path) -> tuple[str, ...]:
    """Return the class of each logit, in order, as a file says it.

    Args:
        path: A JSON or YAML list of names, a mapping from names to logits or from logits to names, or text with one
            name per line.

    Raises:
        ConfigurationError: If it is none of these, or does not name each logit once.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"class_map: {path} cannot be read ({error}).") from None
    try:
        content = json.loads(text) if path.suffix.lower() == ".json" else _lines_or_yaml(text, path)
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(f"class_map: {path}: {str(error).splitlines()[0]}") from None
    if isinstance(content, Mapping):
        content = _in_order(content, path)
    if not content or not isinstance(content, list) or any(type(name) not in (str, int) for name in content):
        raise ConfigurationError(
            f"class_map: {path} is a list of names in the order of the logits, or a mapping from names to logits; this "
            f"file holds {_what_is_odd(content)}."
        )
    names = tuple(normalise_class_name(str(name)) for name in content)
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise ConfigurationError(f"class_map: {path}: {twice!r} appears twice; each logit has a class of its own.")
    return names


def _what_is_odd(content: object) -> str:
    if not content:
        return "no name"
    listed = content if isinstance(content, list) else [content]
    odd = next((name for name in listed if type(name) not in (str, int)), content)
    return f"{type(odd).__name__} {odd!r}"


def _lines_or_yaml(text: str, path: Path) -> object:
    if path.suffix.lower() in (".yaml", ".yml"):
        # The base loader keeps names such as 'no' and '05' as they are written.
        return yaml.BaseLoader(text).get_single_data()
    return [line.strip() for line in text.splitlines() if line.strip()]


def _in_order(content: Mapping[object, object], path: Path) -> list[object]:
    pairs = [(name, logit) for name, logit in content.items()]
    if all(str(name).isdecimal() for name, _ in pairs) and not all(str(logit).isdecimal() for _, logit in pairs):
        pairs = [(logit, name) for name, logit in pairs]
    numbered = {int(str(logit)): name for name, logit in pairs if str(logit).isdecimal()}
    if len(numbered) != len(pairs) or sorted(numbered) != list(range(len(pairs))):
        raise ConfigurationError(f"class_map: {path} must give every logit from 0 to {len(pairs) - 1} one name.")
    return [numbered[logit] for logit in range(len(pairs))]


def with_logits(network: nn.Module, chosen: Sequence[int], input_shape: tuple[int, int, int]) -> nn.Module:
    """Return a network with some of its logits, in the order of ``chosen``.

    Where a linear layer makes the logits, its other rows are cut off; else a layer that picks the logits is added.
    """
    indices = torch.tensor(chosen)
    image = torch.linspace(-1, 1, input_shape[0] * input_shape[1] * input_shape[2]).view(1, *input_shape)
    with evaluating(network), torch.no_grad():
        expected = network(image)[:, indices]
        last = _last_linear(network, image)
        if last is None:
            return nn.Sequential(network, _picking(indices, network_logits=len(network(image)[0])))
        linear = network.get_submodule(last)
        if not isinstance(linear, nn.Linear):
            raise TypeError(f"{last} is no linear layer")
        narrow = nn.Linear(linear.in_features, len(chosen), bias=linear.bias is not None, dtype=linear.weight.dtype)
        narrow.weight.copy_(linear.weight[indices])
        if linear.bias is not None:
            narrow.bias.copy_(linear.bias[indices])
        network.set_submodule(last, narrow)
        same = torch.allclose(network(image), expected, rtol=1e-4, atol=1e-5)
        if not same:
            network.set_submodule(last, linear)
            return nn.Sequential(network, _picking(indices, network_logits=linear.out_features))
    return network


def _last_linear(network: nn.Module, image: Tensor) -> str | None:
    """Return the name of the linear layer whose output is the network's output, if there is one."""
    made: dict[int, str] = {}
    outputs: list[Tensor] = []  # Kept alive, so that no two of them have one id.

    def note(name: str) -> object:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            outputs.append(output)
            made[id(output)] = name

        return hook

    handles = [
        module.register_forward_hook(note(name))  # type: ignore[arg-type]
        for name, module in network.named_modules()
        if type(module) is nn.Linear and name
    ]
    try:
        return made.get(id(network(image)))
    finally:
        for handle in handles:
            handle.remove()


def _picking(indices: Tensor, *, network_logits: int) -> nn.Linear:
    layer = nn.Linear(network_logits, len(indices), bias=False)
    layer.weight.copy_(nn.functional.one_hot(indices, network_logits).to(layer.weight.dtype))
    return layer

"""Running a graph on an example while it grows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, fx, nn


class ExampleRun:
    """The values of a growing graph's nodes for some images.

    Args:
        images: The images.
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self.values: dict[fx.Node, Any] = {}
        self._last: fx.Node | None = None

    def value(self, root: nn.Module, node: fx.Node) -> Any:
        """Return a node's value; every node runs once, in the order of the graph, as code with side effects needs."""
        if node not in self.values:
            nodes = iter(node.graph.nodes) if self._last is None else _after(self._last)
            for current in nodes:
                self.values[current] = self._run(root, current)
                self._last = current
        return self.values[node]

    def _run(self, root: nn.Module, node: fx.Node) -> Any:
        args, kwargs = fx.map_arg((node.args, dict(node.kwargs)), self.values.__getitem__)
        match node.op:
            case "placeholder":
                return self.images.clone()
            case "get_attr":
                return attribute_at(root, str(node.target))
            case "call_module":
                return root.get_submodule(str(node.target))(*args, **kwargs)
            case "call_method":
                return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        return node.target(*args, **kwargs)  # type: ignore[operator]


def _after(node: fx.Node) -> Iterator[fx.Node]:
    current = node.next
    while current.op != "root":
        yield current
        current = current.next


def attribute_at(root: nn.Module, path: str) -> Any:
    """Return the attribute of a module or of one of its submodules, by its qualified name."""
    value: Any = root
    for part in path.split("."):
        value = getattr(value, part)
    return value

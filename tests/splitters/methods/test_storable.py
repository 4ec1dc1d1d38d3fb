"""A network that no module file could hold is refused before anything is searched."""

from dataclasses import replace

import pytest
import torch
from exactness import images
from torch import Tensor

from splitters.errors import GraphError
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.protocol import SPLITTERS, make_splitter
from splitters.testing import TinyNet, tiny_task


class _Unstorable(TinyNet):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(torch.frac(images))


@pytest.mark.parametrize("has_graph", [True, False])
@pytest.mark.parametrize("name", ["cnnsplitter", "full", "gradsplitter", "importance", "random"])
def test_every_splitter_refuses_what_no_file_could_hold(name: str, has_graph: bool) -> None:
    assert name in SPLITTERS
    model = _Unstorable()
    graph = ChannelGraph.trace(model, images(2, 3, 8, 8)) if has_graph else None
    with pytest.raises(GraphError, match="no file could hold this network: the network calls 'frac'"):
        make_splitter(name, {}).split(replace(tiny_task(), model=model), graph=graph)

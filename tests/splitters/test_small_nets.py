"""The channel graph, the masked and the extracted network of one small net per operation and spelling."""

import pytest
from exactness import assert_exact, images, maskable, shaken, tied
from small_nets import BETWEEN, Case

from splitters.graph.channel_graph import ChannelGraph

_BATCH = images(2, 3, 8, 8)


@pytest.mark.parametrize("case", BETWEEN, ids=lambda case: case.name)
def test_maskable_and_frozen_channels(case: Case) -> None:
    graph = ChannelGraph.trace(case.make(), _BATCH)
    assert maskable(graph) == case.maskable
    assert {names for names in tied(graph) if len(names) > 1} == case.tied
    expected = sum(case.maskable.values()) if case.channels is None else case.channels
    assert graph.layout.n_channels == expected
    assert len(graph.frozen) == len(case.frozen), graph.explain()
    for finding, reason in zip(graph.frozen, case.frozen, strict=True):
        assert reason in finding.reason
        assert str(finding) in graph.explain()


@pytest.mark.parametrize("case", BETWEEN, ids=lambda case: case.name)
def test_masked_forward_equals_extracted_network(case: Case) -> None:
    assert_exact(shaken(case.make()), _BATCH)

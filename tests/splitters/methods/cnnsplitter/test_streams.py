"""The random streams of a search."""

import torch

from splitters.methods.cnnsplitter.search_state import Streams


def drawn(generator):
    return torch.rand(8, generator=generator).tolist()


def test_every_stream_draws_different_numbers():
    streams = Streams.seeded(0, 5)
    draws = [tuple(drawn(stream)) for stream in (*streams.classes, streams.order, streams.grouping)]
    assert len(set(draws)) == 7


def test_what_one_class_draws_leaves_the_other_streams_unchanged():
    quiet, busy = Streams.seeded(3, 4), Streams.seeded(3, 4)
    torch.rand(1000, generator=busy.classes[1])
    for number in (0, 2, 3):
        assert drawn(busy.classes[number]) == drawn(quiet.classes[number])
    assert drawn(busy.order) == drawn(quiet.order)
    assert drawn(busy.classes[1]) != drawn(quiet.classes[1])


def test_streams_resume_from_a_saved_state():
    streams = Streams.seeded(1, 3)
    for number, stream in enumerate((*streams.classes, streams.order)):
        torch.rand(number + 1, generator=stream)
    state = streams.get_state()
    expected = [drawn(stream) for stream in (*streams.classes, streams.order)]
    resumed = Streams.seeded(99, 3)
    resumed.set_state(state)
    assert [drawn(stream) for stream in (*resumed.classes, resumed.order)] == expected

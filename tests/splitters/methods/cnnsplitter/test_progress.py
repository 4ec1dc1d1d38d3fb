"""Progress reports of a search."""

import itertools

import pytest

from splitters.methods.protocol import make_splitter
from splitters.testing import Interrupted, MemoryCheckpoint, tiny_task

SMALL = {
    "population": 4,
    "parents": 2,
    "elites": 1,
    "generations": 3,
    "mutation_rate": 0.5,
    "curve_shares": [0.5, 0.75],
}


def reports_of(checkpoint=None, **settings):
    reports = []
    splitter = make_splitter("cnnsplitter", {**SMALL, "batch_size": 9, **settings})
    result = splitter.split(tiny_task(), progress=reports.append, checkpoint=checkpoint)
    return reports, result


def test_steps_never_decrease_within_a_stage():
    reports, _ = reports_of()
    stages = [stage for stage, _ in itertools.groupby(report.stage for report in reports)]
    assert stages == ["sensitivity", "search"]
    for stage, total in (("sensitivity", 2), ("search", 3)):
        own = [report for report in reports if report.stage == stage]
        assert [report.step for report in own] == sorted(report.step for report in own)
        assert (own[0].step, own[-1].step) == (0, total)
        assert {report.total for report in own} == {total}


def test_the_last_report_is_repeated_before_every_batch():
    reports, result = reports_of()
    for report in (report for report in reports if report.stage == "search" and report.step):
        record = result.history[report.step - 1]
        assert report.metrics["accuracy"] == record["accuracy"]
        assert report.metrics["seconds"] == record["generation_seconds"]
    assert sum(report.stage == "search" and report.step == 1 for report in reports) > 1


def test_the_seconds_of_generations_add_up_to_no_more_than_the_split_took():
    _, result = reports_of()
    assert sum(record["generation_seconds"] for record in result.history) <= result.history[-1]["seconds"]


def test_a_resumed_search_reports_the_last_generation_before_its_first_batch():
    checkpoint = MemoryCheckpoint(interrupt_after=3)
    with pytest.raises(Interrupted):
        reports_of(checkpoint)
    reports, result = reports_of(checkpoint)
    assert (reports[0].stage, reports[0].step) == ("search", 1)
    assert reports[0].metrics["accuracy"] == result.history[0]["accuracy"]

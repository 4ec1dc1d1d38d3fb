from __future__ import annotations

from rendering import plain
from toys import toy_item, toy_row

from benchmarks.rows.row import (
    State,
)
from harness.planning.plan import make_plan
from harness.views.plan import plan_view


def test_a_plan_shows_status_time_and_sum() -> None:
    items = [toy_item(seed=seed) for seed in range(3)] + [toy_item(splitter="other")]
    plan = make_plan(items, [toy_row(seed=0, seconds=30), toy_row(seed=1, state=State.FAILED, kind="X")])
    text = plain(plan_view(plan))
    assert "4 cells: 1 done, 1 failed, 2 to do. About 30 s one after the other, 1 without history." in text
    assert "about 30 s" in text
    assert "no history" in text

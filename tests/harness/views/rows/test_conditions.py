from __future__ import annotations

import pytest
from toys import toy_row

from harness.views.rows.conditions import select
from splitters.errors import ConfigurationError, UnknownNameError

ROWS = [
    toy_row(seed=0, threads=1),
    toy_row(seed=1, threads=2, loss=0.3),
    toy_row(splitter="other", seed=2, folder="b*c"),
]


@pytest.mark.parametrize(
    ("conditions", "seeds"),
    [
        ([], [0, 1, 2]),
        (["splitter=toy"], [0, 1]),
        (["splitter=to*"], [0, 1]),
        (["splitter!=toy"], [2]),
        (["seed=0", "seed=2"], [0, 2]),
        (["seed=0", "seed=2", "splitter=other"], [2]),
        (["seed!=0", "seed!=2"], [1]),
        (["seed>=1"], [1, 2]),
        (["seed>0", "seed<2"], [1]),
        (["threads = 2.0"], [1]),
        (["splitter.loss=0.02"], [0, 1, 2]),
        (["splitter.behaviour=ok"], [0, 1, 2]),
        (["splitter.like=null"], [0, 1, 2]),
        (["splitter.folder=b*"], [2]),
        (["state=ok"], [0, 1, 2]),
    ],
)
def test_rows_are_kept_by_columns_and_settings(conditions: list[str], seeds: list[int]) -> None:
    assert [row.seed for row in select(ROWS, conditions)] == seeds


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("splitter", "a condition is KEY=VALUE"),
        ("seed<many", "'many' is not a number"),
        ("splitter=magic", r"no row is left\. Values of splitter: other, toy\."),
        ("model<3", "no row is left"),
    ],
)
def test_what_keeps_nothing_is_refused_with_the_way_out(condition: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        select(ROWS, [condition])


def test_an_unknown_key_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'model'") as caught:
        select(ROWS, ["modl=simcnn"])
    assert "splitter.loss" not in str(caught.value), "the settings are not listed"
    with pytest.raises(UnknownNameError, match=r"Did you mean 'splitter\.loss'"):
        select(ROWS, ["splitter.los=1"])


@pytest.mark.parametrize(("value", "n_rows"), [("ours [fast]", 1), ("ours [[]fast]", 0), ("our? *", 0), ("ours**]", 1)])
def test_in_a_value_only_stars_stand_for_other_text(value: str, n_rows: int) -> None:
    rows = [toy_row(label="ours [fast]"), toy_row(seed=1, label="ours f")]
    chosen = [
        row for row in select(rows, ["seed>=0", f"splitter_label={value}", "splitter_label=ours f"]) if row.seed == 0
    ]
    assert len(chosen) == n_rows

from __future__ import annotations

from toys import toy_row

from benchmarks.rows.columns import Rows
from harness.ranking.configuration import configurations, distinct_configs, distinct_names


def test_rows_that_differ_in_their_seeds_alone_have_one_configuration() -> None:
    rows = Rows.of([toy_row(seed=0), toy_row(seed=12), toy_row(seed=0, splitter="other")])
    numbers, texts = distinct_configs(rows)
    assert numbers.tolist() == [0, 0, 1]
    assert len(texts) == 2
    assert configurations(rows).sections.tolist() == [0, 0, 0]


def test_a_setting_called_seed_tells_configurations_apart() -> None:
    text = '{"splitter":{"settings":{"seed":%d}},"seed":%d,"threads":1}'
    sorted_text = '{"seed":%d,"splitter":{"settings":{"seed":%d}}}'
    for form, expected in ((text, [0, 0, 1]), (sorted_text, [0, 1, 2])):
        configs = [form % pair for pair in ((1, 5), (1, 6), (2, 6))]
        rows = Rows.of([toy_row().model_copy(update={"config": config}) for config in configs])
        assert distinct_configs(rows)[0].tolist() == expected
        found = [made_of.splitter for made_of in configurations(rows).distinct]
        assert [settings["seed"] for settings in found] == ([1, 2] if form == text else [5, 6, 6])


def test_long_numbers_in_names_are_rounded_where_names_stay_distinct() -> None:
    settings = [{"alpha": alpha} for alpha in (0.7076907181813101, 2.0, 0.12345678901, 0.12345678902)]
    assert distinct_names(["x"] * 4, settings) == [
        "x (alpha=0.7077)", "x (alpha=2.0)", "x (alpha=0.12345678901)", "x (alpha=0.12345678902)",
    ]  # fmt: skip

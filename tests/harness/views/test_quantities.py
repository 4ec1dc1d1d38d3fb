from __future__ import annotations

from harness.views.quantities import duration_text


def test_durations_are_readable() -> None:
    seconds = [0.0, 9.94, 9.96, 89.0, 90.0, 5399.0, 5400.0]
    assert [duration_text(value) for value in seconds] == [
        "0.0 s", "9.9 s", "10 s", "89 s", "1.5 min", "90.0 min", "1.5 h",
    ]  # fmt: skip

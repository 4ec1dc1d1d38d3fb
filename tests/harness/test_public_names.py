from __future__ import annotations

import pytest


def test_the_package_hands_on_its_public_names() -> None:
    import harness

    assert all(getattr(harness, name) is not None for name in harness.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = harness.nothing

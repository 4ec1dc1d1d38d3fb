from __future__ import annotations

import io

from rich.console import Console, RenderableType


def plain(view: RenderableType, width: int = 100) -> str:
    output = io.StringIO()
    Console(file=output, width=width, color_system=None).print(view)
    assert "\x1b" not in output.getvalue()
    return output.getvalue()

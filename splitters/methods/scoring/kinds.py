"""The kinds of scores that a splitter can give its modules, and the settings that name one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from splitters.modules.scores import Scores
from splitters.settings import Settings

ScoreKind = Literal["logit", "moments", "head"]

SCORE_KINDS: tuple[ScoreKind, ...] = ("logit", "moments", "head")
"""From the simplest to the most complex: of equally good kinds, the first is taken."""


BaselineScore = Literal["logit", "moments", "head", "best"]
"""A kind, or ``best``: the one that does best on select."""

DEFAULT_HEAD_STEPS = 1000


class HeadSettings(Settings):
    """Settings of splitters that can train heads on their finished modules.

    Args:
        head_steps: Steps of Adam that train the heads of ``score: head``, at the papers' rate of 0.01 and batch size of
            64. On handwritten digits, twice as many gained a point.
    """

    head_steps: int = Field(default=DEFAULT_HEAD_STEPS, ge=1)


def score_name(scores: Scores) -> str:
    """Return the kind of scores as settings and rows name it; further kinds of plug-ins keep their own name."""
    return "moments" if scores.kind == "scaled_logit" else scores.kind

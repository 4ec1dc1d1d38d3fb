"""Shards: parts of a suite's cells, for jobs that know nothing of each other."""

from __future__ import annotations

import re
from dataclasses import dataclass

from typing_extensions import Self

from splitters.errors import ConfigurationError


@dataclass(frozen=True)
class Shard:
    """One of several disjoint parts of a set of cells, whose union is the set.

    Args:
        index: The part, from 1 to ``count``.
        count: The number of parts.
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the shard that ``K/N`` names.

        Raises:
            ConfigurationError: If the text has another form, or K is not within 1 to N.
        """
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text.strip(), flags=re.ASCII)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise ConfigurationError(f"--shard {text!r}: a shard is written K/N with 1 <= K <= N, for example 2/4.")
        return cls(int(found[1]), int(found[2]))

    def holds(self, cell_id: str) -> bool:
        """Return whether a cell belongs to this shard."""
        return int(cell_id, 16) % self.count == self.index - 1

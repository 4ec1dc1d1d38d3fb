"""The attributes that a model's forward sets while it is traced."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def restored_state(model: nn.Module) -> Iterator[None]:
    """Restore the attributes of a model's modules afterwards, as a forward may have stored traced values in them.

    Tensors and modules under new names stay: the constants and layers of the trace are among them.
    """
    candidates = [part for module in model.modules() for part in (vars(module), *vars(module).values())]
    kept = [(part, copy.copy(part)) for part in candidates if type(part) in (dict, OrderedDict, list)]
    try:
        yield
    finally:
        for part, content in kept:
            if isinstance(part, list):
                part[:] = content
                continue
            new = [key for key in part if isinstance(key, str) and key not in content]
            added = {key: part[key] for key in new if isinstance(part[key], Tensor | nn.Module)}
            part.clear()
            part.update({**content, **added})

"""The identity of a network's weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from torch import Tensor, nn

from splitters.data.tensor_hash import hash_tensor


def weights_hash(model: nn.Module) -> str:
    """Return the ``state_hash`` of a network's state."""
    return state_hash(model.state_dict())


def state_hash(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256, in hex, over names, types, shapes and bytes of a state dict."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        hash_tensor(digest, name, tensor)
    return digest.hexdigest()

"""Masked passes of as many modules at once as fit in memory."""

from __future__ import annotations

import contextvars
import math
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, fx
from torch.utils.checkpoint import checkpoint

from splitters.networks.execution.compilation import compiled, is_compiling
from splitters.networks.execution.gpu_memory import available_bytes
from splitters.networks.execution.precision import run_network
from splitters.networks.execution.whole_modules import are_whole, sharing_pays, whole_logits

_SHARE_OF_GPU = 0.8
"""The part of a GPU's available memory that activations may take; the rest is for gradients and fragments."""


class ChunkedNetwork:
    """A masked network that runs its modules in chunks, so that training needs no more memory than there is.

    Chunks compute what the modules would compute together. If there is more than one, activations are not kept but
    computed again in the backward pass, chunk by chunk, which costs a second forward pass. On a CPU, modules that all
    are still the whole network share one forward pass where that saves time.

    Args:
        network: See ``masked_network``.
        memory_bytes: Limit of the memory for activations and their gradients. Default: most of what is available on a
            GPU (``available_bytes``), no limit on the CPU.
    """

    def __init__(self, network: fx.GraphModule, memory_bytes: int | None = None) -> None:
        self.network = network
        self._run = partial(run_network, compiled(network))
        self._memory_bytes = memory_bytes
        self._chunk: int | None = None
        self._is_compiled = is_compiling()
        self._shares_forward: bool | None = None

    def __call__(
        self, images: Float[Tensor, "batch channel height width"], gates: Float[Tensor, "module maskable"]
    ) -> Float[Tensor, "module batch class"]:
        """Return every module's logits; gradients flow to the gates.

        The size of the chunks is settled by the first batch, which later ones must not exceed.
        """
        self._shares_forward = self._still_shares_forward(images, gates)
        if self._shares_forward:
            return whole_logits(self.network, images, gates)
        if self._chunk is None:
            self._chunk = self._chunk_size(images, gates)
        if self._chunk >= len(gates):
            return self._run(images, gates)
        return torch.cat([self._run_again_backward(images, part) for part in gates.split(self._chunk)])

    def _run_again_backward(self, images: Tensor, gates: Tensor) -> Tensor:
        # The precision is the context's, and the backward pass of a GPU has a thread, and so a context, of its own.
        run = partial(contextvars.copy_context().run, self._run)
        logits: Tensor = checkpoint(run, images, gates, use_reentrant=False, preserve_rng_state=False)
        return logits

    def _still_shares_forward(self, images: Tensor, gates: Tensor) -> bool:
        """Return whether the modules run one forward pass, since up to this pass all have been the whole network.

        From the first pass of which this is not true, gates are not looked at any more.
        """
        if self._shares_forward is None:
            # Looking at gates would make a GPU wait.
            may_share = images.device.type == "cpu" and not self._is_compiled
            return may_share and are_whole(gates) and sharing_pays(self.network, images, gates)
        return self._shares_forward and are_whole(gates)

    def _chunk_size(self, images: Tensor, gates: Tensor) -> int:
        limit = self._memory_bytes
        if limit is None and images.is_cuda:
            limit = int(_SHARE_OF_GPU * available_bytes(images.device))
        if limit is None:
            return len(gates)
        fitting = max(1, limit // self.bytes_per_module(images, gates))
        # Chunks of about the same size need less memory than full ones and a rest, in as many passes.
        return math.ceil(len(gates) / math.ceil(len(gates) / fitting))

    def bytes_per_module(self, images: Tensor, gates: Tensor) -> int:
        """Return the memory that one module's activations and the gradients of two of them take.

        Args:
            images: A batch.
            gates: Of at least one module.
        """
        held: dict[int, int] = {}
        shared = {tensor.untyped_storage().data_ptr() for tensor in (images, *self.network.state_dict().values())}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in shared:
                held[storage.data_ptr()] = storage.nbytes()
            return tensor

        # The graph holds what is packed, so that no address occurs twice.
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            logits = run_network(self.network, images, gates[:1].detach().requires_grad_())
        del logits
        return sum(held.values()) + 2 * max(held.values(), default=0)

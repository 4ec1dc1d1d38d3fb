"""Settings and generators of torch, NumPy, Pillow and decimal."""

from __future__ import annotations

import decimal
import random
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from harness.execution.isolation.restores import Restore, all_of, attributes, value_of


def _torch_modes() -> Restore:
    import torch
    from torch import __future__ as future
    from torch._C._autograd import _saved_tensors_hooks_is_enabled  # type: ignore[attr-defined]

    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    anomaly, check_nan = torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    stacks = _mode_stacks()
    further = all_of(
        value_of(torch.get_num_threads, torch.set_num_threads),
        value_of(_flushes_denormals, torch.set_flush_denormal),
        attributes(torch.utils.deterministic, "fill_uninitialized_memory"),
        *(
            value_of(partial(torch.is_autocast_enabled, kind), partial(torch.set_autocast_enabled, kind))
            for kind in ("cpu", "cuda")
        ),
        *(
            value_of(partial(torch.get_autocast_dtype, kind), partial(torch.set_autocast_dtype, kind))
            for kind in ("cpu", "cuda")
        ),
        value_of(torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled),
        value_of(torch._C._is_multithreading_enabled, torch._C._set_multithreading_enabled),
        value_of(torch.is_warn_always_enabled, torch.set_warn_always),
        value_of(future.get_swap_module_params_on_conversion, future.set_swap_module_params_on_conversion),
        value_of(future.get_overwrite_module_params_on_conversion, future.set_overwrite_module_params_on_conversion),
        value_of(torch.multiprocessing.get_sharing_strategy, torch.multiprocessing.set_sharing_strategy),
    )

    def restore() -> None:
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            # An explicit default, be it the CPU, costs time in every call.
            torch.set_default_device(None if device.type == "cpu" else device)
        torch.autograd.set_detect_anomaly(anomaly, check_nan)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.set_grad_enabled(grad)
        further()
        if torch.is_inference_mode_enabled() != inference:
            raise RuntimeError("inference mode was entered and not left")
        if torch.get_default_device() != device:
            raise RuntimeError("a torch.device was entered and not left")
        if _mode_stacks() != stacks:
            raise RuntimeError("a TorchFunctionMode or TorchDispatchMode was entered and not left")
        if not _saved_tensors_hooks_is_enabled():
            raise RuntimeError("disable_saved_tensors_hooks was entered and not left")

    return restore


def _mode_stacks() -> tuple[int, int]:
    import torch

    return torch._C._len_torch_function_stack(), torch._C._len_torch_dispatch_stack()


def _flushes_denormals() -> bool:
    return sys.float_info.min * 0.5 == 0


def _module_hooks() -> Restore:
    from torch.nn.modules import module

    # torch has no function that lists them.
    registries = [
        value for name, value in vars(module).items() if name.startswith("_global_") and isinstance(value, dict)
    ]
    hooks = [dict(registry) for registry in registries]

    def restore() -> None:
        for registry, before in zip(registries, hooks, strict=True):
            if registry != before:
                registry.clear()
                registry.update(before)

    return restore


def _torch_backends() -> Restore:
    import torch
    from torch.backends import cuda, opt_einsum

    # The annotations of these modules lack half of what they have.
    cudnn: Any = torch.backends.cudnn
    mkldnn: Any = torch.backends.mkldnn
    newer = [torch.backends, cuda.matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv, mkldnn.rnn]
    return all_of(
        value_of(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        attributes(cudnn, "enabled", "benchmark", "deterministic", "allow_tf32"),
        attributes(
            cuda.matmul,
            "allow_tf32",
            "allow_fp16_reduced_precision_reduction",
            "allow_bf16_reduced_precision_reduction",
        ),
        # After the older settings, each of which stands for several of these.
        *(attributes(owner, "fp32_precision") for owner in newer),
        attributes(mkldnn, "enabled", "deterministic"),
        attributes(opt_einsum, "enabled", "strategy"),
        value_of(cuda.flash_sdp_enabled, cuda.enable_flash_sdp),
        value_of(cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp),
        value_of(cuda.math_sdp_enabled, cuda.enable_math_sdp),
        value_of(cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp),
        attributes(cuda.matmul, "allow_fp16_accumulation"),
        attributes(torch.backends.cudnn, "benchmark_limit"),
        attributes(torch.backends.quantized, "engine"),
        value_of(torch._C._get_nnpack_enabled, torch._C._set_nnpack_enabled),
    )


def _random_generators() -> Restore:
    import torch
    from numpy.random import mtrand

    python, on_cpu, default = random.getstate(), torch.get_rng_state(), torch.default_generator
    bits = mtrand.get_bit_generator()
    numpy = bits.state
    # A process that has not touched its GPU yet need not begin to.
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None

    def restore() -> None:
        random.setstate(python)
        mtrand.set_bit_generator(bits)
        bits.state = numpy
        torch.default_generator = default
        torch.set_rng_state(on_cpu)
        if on_gpus is not None:
            torch.cuda.set_rng_state_all(on_gpus)

    return restore


def _arithmetic() -> Restore:
    import numpy as np

    context = decimal.getcontext().copy()
    return all_of(
        value_of(np.geterr, lambda before: np.seterr(**before)),
        value_of(np.geterrcall, np.seterrcall),
        partial(decimal.setcontext, context),
    )


def _printing() -> Restore:
    import numpy as np
    import torch

    return all_of(
        value_of(np.get_printoptions, lambda before: np.set_printoptions(**before)),
        attributes(torch._tensor_str.PRINT_OPTS, "precision", "threshold", "edgeitems", "linewidth", "sci_mode"),
    )


def _pictures() -> Restore:
    from PIL import Image, ImageFile

    return all_of(attributes(Image, "MAX_IMAGE_PIXELS"), attributes(ImageFile, "LOAD_TRUNCATED_IMAGES"))


LIBRARY_STATES: tuple[Callable[[], Restore], ...] = (
    _torch_modes,
    _module_hooks,
    _torch_backends,
    _random_generators,
    _arithmetic,
    _printing,
    _pictures,
)
"""Each notes a state, and returns what restores it."""

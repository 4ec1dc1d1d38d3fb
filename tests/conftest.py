"""What holds for all tests: shapes are checked at run time, one thread each, no telemetry or tokens from Ray."""

import os

os.environ.setdefault("RAY_AUTH_MODE", "disabled")

import torch
from jaxtyping import install_import_hook

# Before anything imports the packages: every call of the dense numeric code is checked against its annotated shapes.
_CHECKED = ("channel_ids", "data", "evaluation", "gradsplitter.binarise", "gradsplitter.phases", "gradsplitter.states",
            "importance", "layout", "masked", "masks", "reuse", "scores")  # fmt: skip
install_import_hook([f"splitters.{name}" for name in _CHECKED], "beartype.beartype")

torch.set_num_threads(1)

"""``splitbench compose``: make a classifier of modules."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.errors import report_errors
from harness.cli.options import RegularFile, json_option, out_option


@click.command()
@click.argument("files", nargs=-1, required=True, type=RegularFile(path_type=Path), metavar="FILE...")
@out_option
@json_option
@report_errors
def command(files: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Compose the modules in FILE... into one classifier of their classes.

    The modules may come from different networks, but their scores must be of one kind: heads do not compare with
    logits. Each class needs one module; their order plays no part. What the classifier costs is the sum over its
    modules. Different kernels say what storing them takes: shared ones once.
    """
    import torch

    from benchmarks.pipeline.composed_cost import latencies
    from harness.cli.output import show_json, write_line
    from splitters.modules.module import Module
    from splitters.reuse.composed import compose

    model = compose([Module.load(file) for file in files])
    model.save(out)
    cost = model.cost()
    (seconds,) = latencies([model], torch.zeros(1, *model.input_form.shape))
    if as_json:
        known = {"file": str(out), "classes": list(model.class_names), "flops": cost.flops}
        kernels = {"kernels": model.n_kernels, "kernels_union": model.n_kernels_union}
        show_json({**known, "parameters": cost.parameters, **kernels, "latency_seconds": seconds})
    else:
        write_line(f"{out}: {', '.join(model.class_names)}")
        write_line(
            f"{cost.parameters:,} parameters, {cost.flops:,} FLOPs, {model.n_kernels:,} kernels "
            f"({model.n_kernels_union:,} different ones), {1000 * seconds:.1f} ms for one image"
        )

"""The command ``python -m benchmarks.speed``."""

from __future__ import annotations

import functools
import json
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import click
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.speed import compose_predict, train_epoch
from benchmarks.speed.cnnsplitter import generation, jaccard, merge
from benchmarks.speed.gradsplitter import head_phase, mask_step, short_split
from benchmarks.speed.measurement import Measurement, operations_per_second
from splitters.networks.execution.precision import computing_in

_TOP_OPERATIONS = 10


@dataclass(frozen=True)
class Row:
    """A benchmark.

    Args:
        title: What is measured.
        measure: Runs it; ``device`` and sizes are keyword arguments.
        small: Sizes for a smoke test, in about a second.
    """

    title: str
    measure: Callable[..., Measurement]
    small: Mapping[str, Any] = field(default_factory=dict)


_TINY_STEP = {"width": 0.04, "batch_size": 4, "classes": 3, "repeats": 1}

BENCHMARKS: Mapping[str, Row] = {
    "cnnsplitter.generation": Row(
        "one generation in mid-search",
        generation.measure,
        {"width": 0.03, "population": 3, "images": 20, "repeats": 1},
    ),
    "cnnsplitter.jaccard": Row("distances of all pairs of candidates", jaccard.measure, {"kernels": 100}),
    "cnnsplitter.merge": Row(
        "merging all candidates' scores",
        merge.measure,
        {"classes": 5, "population": 4, "images": 60, "kernels": 20, "pool_size": 30},
    ),
    "compose.predict": Row(
        "ten composed modules of one base model",
        compose_predict.measure,
        {"width": 0.04, "images": 8, "classes": 3, "repeats": 1},
    ),
    "gradsplitter.first_steps": Row(
        "a mask step before a kernel is dropped", functools.partial(mask_step.measure, "first"), _TINY_STEP
    ),
    "gradsplitter.head_phase": Row(
        "an epoch of a head phase",
        head_phase.measure,
        {"width": 0.04, "images": 20, "batch_size": 8, "classes": 3, "epochs": 2, "repeats": 1},
    ),
    "gradsplitter.mask_step_dense": Row(
        "a mask step of nearly whole modules", functools.partial(mask_step.measure, "dense"), _TINY_STEP
    ),
    "gradsplitter.mask_step_dense_bf16": Row(
        "the same with ours in bfloat16", functools.partial(mask_step.measure, "dense", precision="bf16"), _TINY_STEP
    ),
    "gradsplitter.mask_step_sparse": Row(
        "a mask step at 40 % of the kernels", functools.partial(mask_step.measure, "sparse"), _TINY_STEP
    ),
    "gradsplitter.mask_step_sparse_bf16": Row(
        "the same with ours in bfloat16", functools.partial(mask_step.measure, "sparse", precision="bf16"), _TINY_STEP
    ),
    "gradsplitter.split": Row(
        "a short split on handwritten digits",
        short_split.measure,
        {
            "width": 0.04, "rounds": 1, "warmup": 1, "mask_steps": 1, "head_steps": 1, "synthetic_images": 20,
            "repeats": 1,
        },
    ),
    "train.epoch": Row(
        "an epoch of a base model's training",
        train_epoch.measure,
        {"width": 0.04, "images": 20, "select_images": 10, "batch_size": 10, "augment": False, "repeats": 1},
    ),
}  # fmt: skip


def _usable(context: click.Context, parameter: click.Parameter, device: str) -> str:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter from a torch that was built without CUDA
        raise click.BadParameter(f"torch cannot use {device!r} here: {str(error).splitlines()[0]}") from None
    return device


@click.command()
@click.argument("rows", nargs=-1, metavar="[ROW]...")
@click.option("--list", "as_list", is_flag=True, help="List the benchmarks, and run none.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print {name, seconds, reference_seconds, ratio, floor_seconds, repeats, detail} of each row, in a line each.",
)
@click.option("--threads", type=click.IntRange(min=1), help="torch's number of threads. Default: all cores.")
@click.option("--device", default="cpu", show_default=True, callback=_usable, help="Where the networks run, e.g. cuda.")
@click.option("--small", is_flag=True, help="Tiny sizes: a test that all works, without meaning.")
@click.option("--profile", "profiled", is_flag=True, help="Print the operations on which our time is spent.")
def main(
    rows: tuple[str, ...],
    as_list: bool,
    as_json: bool,
    threads: int | None,
    device: str,
    small: bool,
    profiled: bool,
) -> None:
    """Time the parts that dominate a split's run time, against plain references.

    A ROW is a benchmark's name or the beginning of some names; without any, all run. The floor is the time that the
    necessary operations take at the rate of this machine's fastest convolution or matrix product. Each row is printed
    as soon as it is measured; where one fails, the others run all the same, and the exit code is 1.
    """
    chosen = _chosen(rows)
    if as_list:
        for name in chosen:
            click.echo(f"{name:30} {BENCHMARKS[name].title}")
        return
    if threads is not None:
        torch.set_num_threads(threads)
    failed = []
    for name in chosen:
        try:
            _run(BENCHMARKS[name], device=device, small=small, as_json=as_json, profiled=profiled)
        except Exception:
            failed.append(name)
            click.echo(f"{name} failed:\n{traceback.format_exc()}", err=True)
    if failed:
        raise click.ClickException(f"{len(failed)} of {len(chosen)} rows failed: {', '.join(failed)}")


def _run(row: Row, *, device: str, small: bool, as_json: bool, profiled: bool) -> None:
    """Measure a row and print it."""
    # By torch's own default, a GPU would compute the references' convolutions in TF32.
    with computing_in("float32", device):
        measurement = row.measure(device=device, **(row.small if small else {}))
        # Measured beside each row, since the load of a machine changes.
        record = measurement.record(operations_per_second(device) if measurement.flops else None)
        click.echo(json.dumps(record) if as_json else _line(record))
        if profiled:
            click.echo(_profile(measurement, device), err=as_json)


def _chosen(rows: tuple[str, ...]) -> list[str]:
    for row in rows:
        if not any(name.startswith(row) for name in BENCHMARKS):
            raise click.BadParameter(f"no benchmark starts with {row!r}; there are {', '.join(BENCHMARKS)}.")
    return [name for name in BENCHMARKS if name.startswith(rows or "")]


def _line(record: Mapping[str, Any]) -> str:
    floor = record["floor_seconds"]
    return (
        f"{record['name']}: {record['seconds']:.4g} s against {record['reference_seconds']:.4g} s, "
        f"{record['ratio']:.4g} times faster"
        + (f"; floor {floor:.4g} s" if floor else "")
        + f" ({record['detail']}; {record['repeats']} repeats)"
    )


def _profile(measurement: Measurement, device: str) -> str:
    on_gpu = torch.device(device).type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        measurement.ours()
    order = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    table: str = profiler.key_averages().table(sort_by=order, row_limit=_TOP_OPERATIONS, max_name_column_width=40)
    return table


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.speed")

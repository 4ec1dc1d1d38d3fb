"""The command ``python -m benchmarks.speed``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import click
import torch

from benchmarks.speed import cnnsplitter_generation, cnnsplitter_jaccard, cnnsplitter_merge
from benchmarks.speed.measurement import Measurement

BENCHMARKS: Mapping[str, Callable[[], Measurement]] = {
    "cnnsplitter.generation": cnnsplitter_generation.measure,
    "cnnsplitter.jaccard": cnnsplitter_jaccard.measure,
    "cnnsplitter.merge": cnnsplitter_merge.measure,
}


@click.command()
@click.option("--only", default="", metavar="PREFIX", help="Run only benchmarks that start with PREFIX.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print a list of {name, seconds, reference_seconds, ratio, detail}."
)
@click.option("--threads", type=click.IntRange(min=1), help="torch's number of threads. Default: all cores.")
def main(only: str, as_json: bool, threads: int | None) -> None:
    """Time the parts that dominate a split's run time, against plain references."""
    chosen = [name for name in BENCHMARKS if name.startswith(only)]
    if not chosen:
        raise click.BadParameter(
            f"no benchmark starts with {only!r}; there are {', '.join(BENCHMARKS)}.", param_hint="--only"
        )
    if threads is not None:
        torch.set_num_threads(threads)
    measurements = []
    for name in chosen:
        measurements.append(BENCHMARKS[name]())
        if not as_json:
            click.echo(_line(measurements[-1]))
    if as_json:
        click.echo(json.dumps([measurement.record() for measurement in measurements], indent=2))


def _line(measurement: Measurement) -> str:
    return (
        f"{measurement.name}: {measurement.seconds:.4g} s against {measurement.reference_seconds:.4g} s, "
        f"{measurement.ratio:.4g} times faster ({measurement.detail})"
    )


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.speed")

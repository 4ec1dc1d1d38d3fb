"""``python -m benchmarks.speed``: measures and shows."""

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
@click.option("--only", default="", metavar="PREFIX", help="Measure only what begins with PREFIX.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print a list of {name, seconds, reference_seconds, ratio, detail}."
)
@click.option("--threads", type=click.IntRange(min=1), help="Threads of torch; all cores by default.")
def main(only: str, as_json: bool, threads: int | None) -> None:
    """Measures how fast the parts are that decide how long a split takes, against plain references."""
    chosen = [name for name in BENCHMARKS if name.startswith(only)]
    if not chosen:
        raise click.BadParameter(
            f"nothing begins with {only!r}; there are {', '.join(BENCHMARKS)}.", param_hint="--only"
        )
    if threads is not None:
        torch.set_num_threads(threads)
    found = []
    for name in chosen:
        found.append(BENCHMARKS[name]())
        if not as_json:
            click.echo(_line(found[-1]))
    if as_json:
        click.echo(json.dumps([measurement.record() for measurement in found], indent=2))


def _line(found: Measurement) -> str:
    return (
        f"{found.name}: {found.seconds:.4g} s against {found.reference_seconds:.4g} s, "
        f"{found.ratio:.4g} times faster ({found.detail})"
    )


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.speed")

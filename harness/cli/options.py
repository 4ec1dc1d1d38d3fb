"""Options that several verbs share, and the values they stand for."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from benchmarks.cells import DatasetSpec
    from benchmarks.data.sources.source import Location
    from benchmarks.pipeline.workspace import Workspace
    from benchmarks.rows.row import Row
    from harness.config.plugins import Plugins
    from harness.config.suite import Suite
    from harness.planning.outdated_rows import OutdatedRows
    from harness.store import ResultStore
    from harness.suite_cell import SuiteCell

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

json_option: Decorator = click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout.")

at_option: Decorator = click.option(
    "--at",
    metavar="BUDGET",
    help="Compare at an equal budget: retention=40%, loss=1% or seconds=30; at several: loss=0%,1%,2%.",
)


where_option: Decorator = click.option(
    "--where", multiple=True, metavar="CONDITION",
    help="Keep rows of which this holds: KEY=VALUE (* is any text), !=, <, <=, >, >=; keys are columns such as model, "
    "and settings such as splitter.alpha. Repeatable.",
)  # fmt: skip

results_option: Decorator = click.option(
    "--results", metavar="URI", help="Folder or pyarrow.fs URI of the rows. [default: results/SUITE]"
)


def consent_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that allow code named by results to be imported; passed on as ``consent``."""

    @functools.wraps(function)
    def with_consent(*args: Any, trust_code: bool, plugins: Path | None, **keys: Any) -> Any:
        from harness.config.trust import Consent

        folder = str(plugins.absolute()) if plugins else None
        return function(*args, consent=Consent(folder=folder, everything=trust_code), **keys)

    decorators = (
        click.option(
            "--plugins", type=click.Path(file_okay=False, exists=True, path_type=Path), metavar="DIR",
            help="Folder of the plugins that RESULTS name.",
        ),
        click.option(
            "--trust-code", is_flag=True,
            help="Trust the plugins and 'python:' models that RESULTS name, now and later.",
        ),
    )  # fmt: skip
    wrapped: Callable[..., Any] = with_consent
    for decorate in reversed(decorators):
        wrapped = decorate(wrapped)
    return wrapped


class _HomePath(click.Path):
    """A path that may begin with ``~``, which shells leave alone in ``--option=~/folder``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(os.path.expanduser(value), param, ctx)


def data_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for where data sets are and whether to download them."""
    decorators = (
        click.option(
            "--data-root", type=_HomePath(file_okay=False, exists=True, path_type=Path), metavar="DIR",
            help="Folder of data sets.",
        ),
        click.option("--download", is_flag=True, help="Download missing data."),
    )  # fmt: skip
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


shared_cache_option: Decorator = click.option(
    "--shared-cache",
    metavar="URI",
    help="Where machines share trained weights and checkpoints. [default: with the results, if these are a URI and a "
    "Ray address is given]",
)


def shared_cache_of(given: str | None, *, results: str, address: str | None) -> str | None:
    """Return the URI through which machines share trained weights and checkpoints; None if there is none.

    Args:
        given: The value of ``--shared-cache``.
        results: Location of the rows.
        address: A Ray cluster's address, if one was given.

    Raises:
        ConfigurationError: If a given URI does not answer.
    """
    from harness.first_contact import require_store_answers
    from harness.store import beneath

    require_store_answers(given or "", what="shared cache")
    return given or (beneath(results, "cache") if "://" in results and address else None)


def make_workspace(data_root: Path | None, download: bool, *, suite: str | None = None) -> Workspace:
    """Return where work on a single model is done: on the GPU if there is one, with its progress on stderr.

    Args:
        data_root: The folder of data sets, if one was named.
        download: Whether absent data may be fetched.
        suite: The suite whose settings are taken: relative folders of data sets are looked for beside its file.
    """
    from benchmarks.pipeline.workspace import Workspace
    from harness.cli.progress import show_progress
    from harness.config.cache_folder import cache_folder
    from harness.machines.devices import best_device
    from harness.text import printable

    return Workspace(
        cache=cache_folder().absolute(),
        data_root=data_root.absolute() if data_root else None,
        download=download,
        device=best_device(),
        progress=show_progress(),
        suite_folder=Path(suite).absolute().parent if suite and Path(suite).is_file() else None,
        warn=functools.cache(lambda text: click.echo(f"Warning: {printable(text)}", err=True)),
    )


class RegularFile(click.Path):
    """A file that is no pipe and no device: these may be waited for without end."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        found: Any = super().convert(value, param, ctx)
        path = Path(found)
        if path.exists() and not (path.is_file() or path.is_dir()):
            self.fail(f"{str(path)!r} is a pipe or a device, and no regular file.", param, ctx)
        return found


out_option: Decorator = click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", required=True, help="The file to write."
)


def suite_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the suite argument and the options that change it or select cells."""
    decorators = (
        click.argument("suite", metavar="SUITE|FILE"),
        click.option(
            "--set", "changes", multiple=True, metavar="KEY=VALUE",
            help="Change the suite, e.g. --set training.epochs=3 --set splitters.gradsplitter.alpha=0.3. Repeatable.",
        ),
        click.option(
            "--only", multiple=True, metavar="KEY=VALUE",
            help="Keep matching cells: splitter, model, dataset, seed or scenario. Repeatable.",
        ),
        click.option("--seeds", type=click.IntRange(min=1), metavar="N", help="Use the seeds 0 to N-1."),
        click.option("--retry", metavar="KIND,...", help="Retry failed cells: 'failed', or failure kinds."),
        results_option,
    )  # fmt: skip
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


shard_option: Decorator = click.option(
    "--shard", metavar="K/N", help="Keep the K-th of N disjoint parts of the cells, for job arrays."
)


def read_cells(
    suite: str,
    changes: Sequence[str],
    only: Sequence[str],
    seeds: int | None,
    timeout: str | None = None,
    shard: str | None = None,
) -> tuple[Suite, list[SuiteCell]]:
    """Return a suite with the options applied, and the selected cells."""
    from harness.config.expand import expand
    from harness.config.suite import load_suite, parse_only
    from harness.runs.shard import Shard

    loaded = load_suite(suite, changes=with_changes(changes, seeds=seeds, timeout=timeout))
    part = Shard.parse(shard) if shard is not None else None
    cells = expand(loaded, only=parse_only(only) if only else None)
    return loaded, [item for item in cells if part is None or part.holds(item.cell.cell_id)]


def with_changes(changes: Sequence[str], **options: object) -> list[str]:
    """Return the changes of ``--set`` with those that options of their own stand for.

    Args:
        changes: ``KEY=VALUE`` texts.
        options: Values of the options by key; None if not given.

    Raises:
        ConfigurationError: If both change a key.
    """
    from splitters.errors import ConfigurationError

    added = [f"{key}={value}" for key, value in options.items() if value is not None]
    for text in changes:
        key = text.partition("=")[0].strip()
        if options.get(key) is not None:
            raise ConfigurationError(f"--{key} and --set {text} change the same; give one of them.")
    return [*changes, *added]


def make_location(data_root: Path | None, download: bool, plugins: Plugins) -> Location:
    """Return where data sets are looked for."""
    from benchmarks.data.sources.source import Location
    from harness.config.cache_folder import cache_folder

    root = data_root.absolute() if data_root else None
    return Location(root, cache_folder().absolute(), download, plugins.suite_folder)


def changed_data(cells: Sequence[SuiteCell], latest: Sequence[Row], location: Location) -> OutdatedRows:
    """Return which rows were measured on images that have changed, and report them on stderr."""
    from harness.cli.progress import show_progress
    from harness.planning.outdated_rows import find_outdated_rows

    changed = find_outdated_rows(cells, latest, location=location, progress=show_progress())
    for note in changed.notes:
        click.echo(note, err=True)
    return changed


def report_missing_data(
    datasets: Sequence[DatasetSpec], location: Location, *, last_data_root: bool = False
) -> tuple[str, ...]:
    """Look for data sets, report on stderr what is missing or skipped, and return the lines on what is missing."""
    from harness.planning.missing_data import check_data
    from harness.text import printable

    found = check_data(datasets, location=location, last_data_root=last_data_root)
    for warning in found.warnings:
        click.echo(f"Warning: {printable(warning)}", err=True)
    for line in found.missing:
        click.echo(f"Missing data: {printable(line)}", err=True)
    return found.missing


def require_data(datasets: Sequence[DatasetSpec], location: Location) -> None:
    """Check that data sets are there, and that the cache can be written to, before anything runs.

    Raises:
        ConfigurationError: If the cache folder cannot be written to.
        DataError: If one is missing or cannot be used; stderr says which ones, and why.
    """
    from harness.config.cache_folder import require_cache_folder
    from splitters.errors import DataError

    if datasets:
        require_cache_folder()
    missing = report_missing_data(datasets, location)
    if missing:
        sets = "a data set" if len(missing) == 1 else f"{len(missing)} data sets"
        raise DataError(f"nothing was run: {sets} that the cells need cannot be used (see above).")


def refuse_for_sweeps(options: Mapping[str, object]) -> None:
    """Check that no option for suites only is given.

    Args:
        options: Values of these options, by name.

    Raises:
        ConfigurationError: If one is given.
    """
    from splitters.errors import ConfigurationError

    given = [name for name, value in options.items() if value]
    if given:
        raise ConfigurationError(
            f"{', '.join(given)}: for suites only. A sweep is changed by --set KEY=VALUE, e.g. --set seeds=3."
        )


def open_store(location: str) -> ResultStore:
    """Return the results at a folder or URI."""
    from harness.config.cache_folder import cache_folder
    from harness.store import ResultStore

    return ResultStore(location, cache=cache_folder())


def default_results(suite: Suite) -> str:
    """Return the default location of a suite's rows."""
    return f"results/{suite.name}"


def split_names(text: str) -> list[str]:
    r"""Return the class names of ``NAME,NAME``; ``\,`` is a comma within a name, and ``\\`` a backslash."""
    from splitters.settings import normalise_class_name

    names = [re.sub(r"\\([\\,])", r"\1", name).strip() for name in re.findall(r"(?:\\[\\,]|[^,])+", text)]
    return [normalise_class_name(name) for name in names if name]


def listed(text: str | None, option: str, what: str) -> list[str]:
    """Return the names in an option's ``NAME,NAME``; none if it was not given.

    Args:
        text: The option's value.
        option: The option.
        what: What it names, for the message.

    Raises:
        ConfigurationError: If it was given without a name.
    """
    from splitters.errors import ConfigurationError

    names = [] if text is None else split_names(text)
    if text is not None and not names:
        raise ConfigurationError(f"{option}: name at least one {what}.")
    return names

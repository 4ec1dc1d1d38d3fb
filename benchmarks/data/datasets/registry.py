"""Which data sets there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.cells import DatasetSpec
from benchmarks.data.sources.digits import DigitsSource
from benchmarks.data.sources.folder import FolderSource
from benchmarks.data.sources.named_folder import NamedFolder
from benchmarks.data.sources.parquet import ParquetSource
from benchmarks.data.sources.source import Location, Source
from benchmarks.data.sources.torchvision_sets import TORCHVISION_SETS, TorchvisionSource
from benchmarks.data.sources.union import UnionSource, member_names
from splitters.errors import ConfigurationError, UnknownNameError
from splitters.foreign_code import calling
from splitters.registry import Registry


@dataclass(frozen=True)
class DatasetEntry:
    """A data set, or a kind of data set whose names end in ``:FOLDER``.

    Args:
        description: One line for people.
        open: Makes the source from what follows the first colon (empty without one) and the locations to search.
        options: What may be added to the name as ``:OPTION=VALUE``.
        members: For data sets made of others, returns their names from what follows the first colon, and checks them.
    """

    description: str
    open: Callable[[str, Location], Source]
    options: tuple[str, ...] = ()
    members: Callable[[str], tuple[str, ...]] | None = None


DATASETS: Registry[DatasetEntry] = Registry(
    "data set", entry_point_group="splitbench.datasets", instance_of=DatasetEntry
)
"""All data sets by name; ``parquet:FOLDER`` and ``folder:FOLDER`` stand for one per folder."""

_PLACEHOLDER = "FOLDER"


def check_dataset(name: str, *, where: str = "") -> None:
    """Check a data set's name without looking for its files.

    Args:
        name: A name in ``DATASETS``, with a folder instead of ``FOLDER``.
        where: The file and key that held the name, for the message.

    Raises:
        ConfigurationError: If there is no data set of that name, it does not have an option, or a union joins too few
            data sets or one of them twice.
    """
    find_dataset(name, where=where)


def with_code(spec: DatasetSpec) -> DatasetSpec:
    """Return a data set's specification with the fingerprint of the code that reads it, if that is a plug-in's."""
    return spec.model_copy(update={"code": _code_of(spec.name)})


def _code_of(name: str) -> str:
    """Return the fingerprint of plug-ins' code that reads a data set or its members; empty if there is none."""
    entry, text = find_dataset(name)
    members = entry.members(text) if entry.members else ()
    codes = [DATASETS.code_fingerprint(_key(name)), *map(_code_of, members)]
    return "+".join(filter(None, codes))


def find_dataset(name: str, *, where: str = "") -> tuple[DatasetEntry, str]:
    """Return the entry of a name, and what follows its first colon.

    Raises:
        ConfigurationError: If the name is invalid; see ``check_dataset``.
    """
    entry, text = DATASETS.get(_key(name, where=where)), name.partition(":")[2]
    try:
        members = entry.members(text) if entry.members else ()
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}" if where else str(error)) from None
    for member in members:
        find_dataset(member, where=where)
    if entry.options:
        for option in NamedFolder.parse(name.partition(":")[0], text).options:
            if option not in entry.options:
                raise UnknownNameError(f"option of {name!r}", option, entry.options, where=where)
    return entry, text


def open_dataset(name: str, location: Location) -> Source:
    """Return the source of a data set.

    Raises:
        UnknownNameError: If there is no data set of that name.
        DataError: If its folder is absent.
    """
    entry, text = find_dataset(name)
    with calling(f"the data set {name!r}"):
        source = entry.open(text, location)
    if not isinstance(source, Source):
        raise ConfigurationError(f"the data set {name!r} opens as {source!r}; it must be a benchmarks.Source.")
    return source


def _open_union(text: str, location: Location) -> Source:
    return UnionSource(text, {name: open_dataset(name, location) for name in member_names(text)})


def _key(name: str, *, where: str = "") -> str:
    kind, colon, rest = name.partition(":")
    kinds = {key.partition(":")[0]: key for key in DATASETS if ":" in key}
    key = kinds.get(kind, name) if colon and rest.strip() else name
    if key not in DATASETS or (key == name and colon):
        if name and Path(name).is_dir():
            remedy = f"The folder of that name is called folder:{name} or parquet:{name}."
            raise UnknownNameError("data set", name, DATASETS, where=where, remedy=remedy)
        raise DATASETS.unknown(name, where=where)
    return key


DATASETS.register("digits")(
    DatasetEntry(
        "scikit-learn's 1797 handwritten digits of 8x8 pixels; a fixed fifth is its test set; needs no download",
        lambda _folder, _location: DigitsSource(),
    )
)
for _name, _set in TORCHVISION_SETS.items():
    DATASETS.register(_name)(DatasetEntry(_set.description, partial(TorchvisionSource.open, _name)))
DATASETS.register(f"parquet:{_PLACEHOLDER}")(
    DatasetEntry(
        "train*.parquet and test*.parquet files in FOLDER, laid out as Hugging Face's",
        ParquetSource.open,
        options=("image", "label", "train", "test"),
    )
)
DATASETS.register(f"folder:{_PLACEHOLDER}")(
    DatasetEntry(
        "image files as FOLDER/train/CLASS/* and FOLDER/test/CLASS/*", FolderSource.open, options=("train", "test")
    )
)
DATASETS.register("union:SET+SET")(
    DatasetEntry("several data sets as one, with the classes of all", _open_union, members=member_names)
)

"""Image files in a folder per class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.data.sources.named_folder import NamedFolder
from benchmarks.data.sources.source import (
    Contents,
    Listing,
    Location,
    Part,
    Source,
    hash_files,
    list_files,
)
from benchmarks.data.sources.splits import PARTS, choose_split, is_split_name
from splitters.data.image_files import describe_animated, describe_skipped, files_in, is_image_file
from splitters.data.pictures import read_header
from splitters.errors import DataError, listed_names
from splitters.settings import normalise_class_name

_OF_SEVERAL_PICTURES = (".gif", ".tif", ".tiff", ".webp", ".avif", ".apng")


class FolderSource(Source):
    """A folder ``train`` and a folder ``test``, each with a folder of image files per class.

    Classes are the folders of ``train`` (or of the only folder in it), sorted by name; images may be in sub-folders of
    theirs. Files and folders whose names begin with a dot are ignored. Other files without the suffix of an image are
    skipped, with a warning.

    Args:
        root: The folder that holds ``train`` and ``test``.
        name: The data set's name, whose options say what the two folders are called.
    """

    def __init__(self, root: Path, name: NamedFolder) -> None:
        self._root = root
        self._name = name

    @classmethod
    def open(cls, text: str, location: Location) -> FolderSource:
        """Return the source that ``folder:`` and ``text`` name."""
        name = NamedFolder.parse("folder", text)
        return cls(name.find(location), name)

    def fingerprint(self) -> str:
        """Return a hash of all image files and of the folders' names."""
        return f"{self._folders()} {hash_files(self._files())}"

    def listing(self) -> Listing:
        """Return all image files, and the classes' folders."""
        return {**{f"{name}/": (0, 0) for name in self._folders()}, **list_files(self._files())}

    def check_present(self) -> None:
        """Check that there are folders of classes."""
        self._folders()

    def stored_in(self) -> Path:
        """Return the folder that the name names."""
        return self._root

    def warnings(self) -> tuple[str, ...]:
        """Return a sentence on the files that are skipped, and one on those of several pictures, if there are some."""
        splits = [self._split(part) for part in PARTS]
        read: list[Path] = []
        skipped: list[Path] = []
        for split in splits:
            for path in files_in(split):
                (read if is_image_file(path) and path.parent != split else skipped).append(path)
        for folder in _folders_in(self._root):
            if is_split_name(folder.name) and not any(split.is_relative_to(folder) for split in splits):
                skipped += files_in(folder)
        # Other formats hardly ever hold several, and even headers take long to read for a million files.
        may_be_animated = [path for path in read if path.suffix.lower() in _OF_SEVERAL_PICTURES]
        animated = [path for path in may_be_animated if read_header(path).is_animated]
        clauses = [describe(files, self._root) for describe, files in
                   ((describe_skipped, skipped), (describe_animated, animated)) if files]  # fmt: skip
        return tuple(f"{self._name}: {clause}" for clause in clauses)

    def read(self) -> Contents:
        """List the files.

        Raises:
            DataError: If there are none, or a class of ``test`` is not in ``train``.
        """
        names = tuple(self._classes("train"))
        return Contents(names, self._part("train", names), self._part("test", names), str(self._root))

    def _folders(self) -> list[str]:
        folders = ((part, path) for part in PARTS for paths in self._class_folders(part).values() for path in paths)
        return [f"{part}/{path.name}" for part, path in folders]

    def _files(self) -> Iterator[tuple[str, Path]]:
        for part in PARTS:
            for paths in self._classes(part).values():
                yield from ((path.relative_to(self._root).as_posix(), path) for path in paths)

    def _split(self, part: str) -> Path:
        """Return the folder that holds the classes' folders of a part, which may be the only one of another folder."""
        splits = [path.name for path in _folders_in(self._root)]
        folder = self._root / (choose_split(part, splits, self._name, self._root) or part)
        while folder.is_dir() and len(inner := _folders_in(folder)) == 1 and _holds_folders_alone(inner[0]):
            (folder,) = inner
        return folder

    def _class_folders(self, part: str) -> dict[str, list[Path]]:
        """Return the folders of each class, several where one name is spelt in two Unicode forms."""
        split = self._split(part)
        if not split.is_dir():
            names = listed_names(path.name for path in _folders_in(self._root)) or "no folder"
            raise DataError(
                f"{split} is no folder; image files are looked for as {split / 'CLASS' / 'FILE.png'}. {self._root} has "
                f"{names}; a split is named as in {self._name.hint(part, 'FOLDER')}."
            )
        classes: dict[str, list[Path]] = {}
        for path in _folders_in(split):
            classes.setdefault(normalise_class_name(path.name), []).append(path)
        if not classes:
            raise DataError(f"{split} holds no folders; there must be one per class, named after it.")
        return dict(sorted(classes.items()))

    def _classes(self, part: str) -> dict[str, list[Path]]:
        """Return the image files of each class."""
        return {
            name: [path for folder in folders for path in files_in(folder) if is_image_file(path)]
            for name, folders in self._class_folders(part).items()
        }

    def _part(self, part: str, names: tuple[str, ...]) -> Part:
        classes = self._classes(part)
        foreign = sorted(set(classes) - set(names))
        if foreign:
            raise DataError(
                f"{self._split(part) / foreign[0]}: {foreign[0]!r} is no class of train, which has {', '.join(names)}."
            )
        files = [path for name in names for path in classes.get(name, [])]
        labels = [label for label, name in enumerate(names) for _ in classes.get(name, [])]

        def images() -> Iterator[bytes]:
            return (path.read_bytes() for path in files)

        return Part(part, np.asarray(labels, dtype=np.int64), images, lambda i: str(files[i]))


def _folders_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _holds_folders_alone(folder: Path) -> bool:
    return bool(_folders_in(folder)) and not any(map(is_image_file, folder.iterdir()))

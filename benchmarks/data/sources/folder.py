"""Image files in a folder per class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.data.sources.source import Contents, Listing, Location, Part, Source, hash_files, list_files
from splitters.errors import DataError

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
_PARTS = ("train", "test")


def find_folder(folder: str, location: Location, *, kind: str) -> Path:
    """Returns the folder that a name such as ``folder:cats`` means: under the data root, else as a path of its own.

    Raises:
        DataError: If there is no such folder.
    """
    candidates = [location.data_root / folder] if location.data_root is not None else []
    candidates.append(Path(folder))
    for path in candidates:
        if path.is_dir():
            return path
    places = " nor ".join(str(path) for path in candidates)
    raise DataError(
        f"{kind}:{folder}: {places} is no folder. Type --data-root DIR, where DIR holds {folder}, "
        f"or give the folder's whole path as {kind}:/PATH."
    )


class FolderSource(Source):
    """A folder ``train`` and a folder ``test``, each with a folder of image files per class.

    Classes are the folders of ``train``, sorted by name. Files that are not named as images, and those whose names
    begin with a dot, have no part in it.

    Args:
        root: The folder that holds ``train`` and ``test``.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @classmethod
    def open(cls, folder: str, location: Location) -> FolderSource:
        """Returns the source that ``folder:FOLDER`` means."""
        return cls(find_folder(folder, location, kind="folder"))

    def fingerprint(self) -> str:
        """Returns a hash of all files and of the folders' names."""
        return f"{self._folders()} {hash_files(self._files())}"

    def listing(self) -> Listing:
        """Returns all files, and the classes' folders."""
        return {**{f"{name}/": (0, 0) for name in self._folders()}, **list_files(self._files())}

    def read(self) -> Contents:
        """Lists the files.

        Raises:
            DataError: If there are none, or a class of ``test`` is not in ``train``.
        """
        names = tuple(self._classes("train"))
        return Contents(names, self._part("train", names), self._part("test", names), str(self._root))

    def _folders(self) -> list[str]:
        return [f"{part}/{name}" for part in _PARTS for name in self._classes(part)]

    def _files(self) -> Iterator[tuple[str, Path]]:
        for part in _PARTS:
            for paths in self._classes(part).values():
                yield from ((path.relative_to(self._root).as_posix(), path) for path in paths)

    def _classes(self, part: str) -> dict[str, list[Path]]:
        folder = self._root / part
        if not folder.is_dir():
            raise DataError(f"{folder} is no folder; image files are looked for as {folder / 'CLASS' / 'FILE.png'}.")
        classes = {path.name: _image_files(path) for path in sorted(folder.iterdir()) if _is_class(path)}
        if not classes:
            raise DataError(f"{folder} holds no folders; there must be one per class, named after it.")
        return classes

    def _part(self, part: str, names: tuple[str, ...]) -> Part:
        classes = self._classes(part)
        foreign = sorted(set(classes) - set(names))
        if foreign:
            raise DataError(
                f"{self._root / part / foreign[0]}: {foreign[0]!r} is no class of train, which has {', '.join(names)}."
            )
        files = [path for name in names for path in classes.get(name, [])]
        labels = [label for label, name in enumerate(names) for _ in classes.get(name, [])]

        def images() -> Iterator[bytes]:
            return (path.read_bytes() for path in files)

        return Part(part, np.asarray(labels, dtype=np.int64), images, lambda i: str(files[i]))


def _is_class(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _image_files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in _SUFFIXES and path.is_file() and not path.name.startswith(".")
    )

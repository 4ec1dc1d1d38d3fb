"""Weights that others publish: what is known of them, and their files on this machine."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit

import torch

from benchmarks.cache.locations import network_timeout
from splitters.errors import DataError


class WeightsSource(ABC):
    """A file of published weights."""

    @abstractmethod
    def find(self, cache: Path) -> Path | None:
        """Return the file if it is on this machine, in Splitbench's cache or in that of the library it belongs to."""

    @abstractmethod
    def fetch(self, cache: Path) -> Path:
        """Download the file into the cache.

        Raises:
            DataError: If it cannot be fetched.
        """


@dataclass(frozen=True)
class PublishedWeights:
    """Published weights, and what they were made with.

    Args:
        name: Their full name, the same for every way to ask for them.
        source: Their file.
        input_shape: The channels, height and width of their images.
        mean: The mean of each image channel that their images were normalised with.
        std: The standard deviations.
        class_names: The class of each logit, in order; empty where the publisher does not say it.
        n_logits: The number of logits.
    """

    name: str
    source: WeightsSource
    input_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]
    n_logits: int

    def file(self, cache: Path, *, download: bool) -> Path:
        """Return the file.

        Args:
            cache: The cache folder.
            download: Whether to fetch it if it is absent.

        Raises:
            DataError: If it is absent and may not, or cannot, be fetched.
        """
        found = self.source.find(cache)
        if found is not None:
            return found
        if not download:
            raise DataError(
                f"the weights {self.name} are not on this machine ({self.source}); --download fetches them."
            )
        return self.source.fetch(cache)


@dataclass(frozen=True)
class UrlSource(WeightsSource):
    """A file behind a URL whose name ends in the beginning of its SHA-256, as torch's own are (``name-HASH.pth``)."""

    url: str

    def find(self, cache: Path) -> Path | None:
        """Look in the cache and in torch's; see ``WeightsSource.find``."""
        folders = (_url_folder(cache), Path(torch.hub.get_dir()) / "checkpoints")
        return next((path for folder in folders if (path := folder / self._file_name).is_file()), None)

    def fetch(self, cache: Path) -> Path:
        """Download the file and check its hash; see ``WeightsSource.fetch``."""
        path = _url_folder(cache) / self._file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        known = re.search(r"-([0-9a-f]{8,})\.", self._file_name)
        try:
            with network_timeout():
                torch.hub.download_url_to_file(self.url, str(path), hash_prefix=known and known[1], progress=False)
        except (URLError, OSError, RuntimeError) as error:
            raise DataError(f"{self.url} cannot be fetched: {error}") from error
        return path

    @property
    def _file_name(self) -> str:
        return Path(urlsplit(self.url).path).name

    def __str__(self) -> str:
        """Return where the file comes from."""
        return self.url


def _url_folder(cache: Path) -> Path:
    return cache / "published-weights"


@dataclass(frozen=True)
class HubSource(WeightsSource):
    """A file of a repository on the Hugging Face hub, found there under the first of several names.

    Args:
        repository: ``OWNER/REPO``.
        names: Names of the file.
    """

    repository: str
    names: tuple[str, ...]

    def find(self, cache: Path) -> Path | None:
        """Look in the cache and in the hub's own; see ``WeightsSource.find``."""
        from huggingface_hub import try_to_load_from_cache

        for folder in (_hub_folder(cache), None):
            for name in self.names:
                found = try_to_load_from_cache(self.repository, name, cache_dir=folder)
                if isinstance(found, str):
                    return Path(found)
        return None

    def fetch(self, cache: Path) -> Path:
        """Download the file; see ``WeightsSource.fetch``."""
        from huggingface_hub import hf_hub_download

        reasons = []
        for name in self.names:
            try:
                return Path(hf_hub_download(self.repository, name, cache_dir=_hub_folder(cache)))
            # The hub's client raises errors of its HTTP library's, which differ from version to version.
            except Exception as error:
                reasons.append(f"{name}: {type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}")
        raise DataError(f"{self} cannot be fetched: {'; '.join(reasons)}")

    def __str__(self) -> str:
        """Return where the file comes from."""
        return f"huggingface.co/{self.repository}"


def _hub_folder(cache: Path) -> Path:
    return cache / "published-weights" / "huggingface"

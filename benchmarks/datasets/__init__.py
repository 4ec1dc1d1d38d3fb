"""Labelled images by name, decoded once."""

from benchmarks.datasets.catalogue import DATASETS, DatasetEntry, check_dataset, with_code
from benchmarks.datasets.content import CurrentContent, current_content
from benchmarks.datasets.dataset import Dataset
from benchmarks.datasets.loading import load_dataset

__all__ = [
    "DATASETS",
    "CurrentContent",
    "Dataset",
    "DatasetEntry",
    "check_dataset",
    "current_content",
    "load_dataset",
    "with_code",
]

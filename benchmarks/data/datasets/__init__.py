"""Labelled images by name, decoded once."""

from benchmarks.data.datasets.content import CurrentContent, check_present, current_content, last_data_root_of
from benchmarks.data.datasets.dataset import Dataset
from benchmarks.data.datasets.loading import load_dataset
from benchmarks.data.datasets.registry import DATASETS, DatasetEntry, check_dataset, with_code

__all__ = [
    "DATASETS",
    "CurrentContent",
    "Dataset",
    "DatasetEntry",
    "check_dataset",
    "check_present",
    "current_content",
    "last_data_root_of",
    "load_dataset",
    "with_code",
]

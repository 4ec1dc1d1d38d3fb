"""Images in Parquet files: which files, which columns, which classes."""

from benchmarks.data.sources.parquet.parquet_source import ParquetSource

__all__ = ["ParquetSource"]

"""Rows as tables: which of them, as Arrow, pandas or polars, as CSV, JSON and Parquet."""

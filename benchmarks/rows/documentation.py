"""The documentation of rows, from their schema: ``python -m benchmarks.rows.documentation > docs/rows.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import get_args

import pyarrow as pa
from pydantic import BaseModel

from benchmarks.rows.parquet_schema import arrow_schema
from benchmarks.rows.row import ROW_FORMAT, Metrics, Provenance, Row, State

_INTRODUCTION = f"""\
# Rows

Every attempt at a cell writes one row to a Parquet file of its own, which never changes:
`rows/in_scenario=S/in_dataset=D/<cell>-<attempt>.parquet`. `splitbench compact` merges such files into a few
`merged-*.parquet` beside them; while it works, a row may be in two files. This page is generated from
`benchmarks/rows/row.py` (`python -m benchmarks.rows.documentation > docs/rows.md`). Row format: {ROW_FORMAT}.

## Which row counts

A cell has a row for each attempt, and one of them counts: an attempt that ended `ok` or `skipped` before any other; of
several, the newest. Leaderboards show that one, and so do the following:

```python
import harness

rows = harness.read_rows("results/quick", as_="pandas", settings=True)  # or "arrow" (the default), "polars"
rows.groupby(["splitter", "model.width"])["accuracy_loss"].mean()
```

`settings=True` adds a column per setting, `splitter.alpha` or `training.epochs` for instance, which are otherwise in
the JSON of `config`. `all_attempts=True` returns every attempt. Several folders, in a list, are read as one. In the
shell:

```sh
export PATH="${{VENV:-.venv}}/bin:$PATH"
splitbench rows results/quick --settings > results/rows.csv
splitbench rows results/quick --out results/rows.parquet   # or .json, .csv; --all-attempts
```

Other readers of hive partitions see all attempts: `pandas.read_parquet("results/quick/rows")`, or
`pyarrow.parquet.read_table`. In DuckDB, the rows that count are

```sql
SELECT * FROM read_parquet('results/quick/rows/**/*.parquet', union_by_name = true)
QUALIFY row_number() OVER (PARTITION BY cell_id ORDER BY state IN ('ok', 'skipped') DESC, started_at DESC) = 1;
```

and a setting is `config->>'$.splitter.settings.alpha'`. Each file also holds its `scenario` and `dataset`, so it is
complete without its path; the names of the folders let readers skip what they do not need.

## Values

Fractions are in [0, 1]. `↑` marks numbers that are better when higher, `↓` when lower. NaN and infinity are
failures, never values. States: {", ".join(f"`{state.value}`" for state in State)}.
"""


def rows_markdown() -> str:
    """Return the documentation of all columns as Markdown."""
    row_only = [name for name in Row.model_fields if name not in {**Provenance.model_fields, **Metrics.model_fields}]
    sections: list[tuple[str, type[BaseModel], list[str]]] = [
        ("Identity and outcome", Row, row_only),
        ("Provenance", Provenance, list(Provenance.model_fields)),
        ("Metrics", Metrics, list(Metrics.model_fields)),
        *((f"One entry of `{name}`", record, list(record.model_fields)) for name, record in _records()),
    ]
    return "\n".join([_INTRODUCTION, *("\n".join(_section(*section)) for section in sections)])


def _records() -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield the columns that hold lists of records, with the type of their records."""
    for name, field in Row.model_fields.items():
        for part in get_args(field.annotation):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield name, part


def _section(title: str, model: type[BaseModel], names: list[str]) -> Iterator[str]:
    schema = arrow_schema(model)
    yield f"## {title}\n"
    yield "| column | type | null | | meaning |"
    yield "| --- | --- | --- | --- | --- |"
    for name in names:
        field, column = model.model_fields[name], schema.field(name)
        extra = field.json_schema_extra
        better = extra.get("better") if isinstance(extra, dict) else None
        arrow = {"higher": "↑", "lower": "↓"}.get(str(better), "")
        null = "yes" if column.nullable else ""
        yield f"| `{name}` | {_type_name(column.type)} | {null} | {arrow} | {field.description} |"
    yield ""


def _type_name(column_type: pa.DataType) -> str:
    if pa.types.is_list(column_type):
        return f"list of {_type_name(column_type.value_type)}"
    return "record" if pa.types.is_struct(column_type) else str(column_type)


if __name__ == "__main__":
    sys.stdout.write(rows_markdown())

"""The documentation of rows, made from the row's model: ``python -m benchmarks.rows_doc > docs/rows.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pyarrow as pa
from pydantic import BaseModel

from benchmarks.records import (
    ROW_FORMAT,
    LayerRecord,
    Metrics,
    ModuleRecord,
    Provenance,
    Row,
    StageRecord,
    State,
    arrow_schema,
)

_INTRODUCTION = f"""\
# Rows

Every attempt at a cell writes one row, in a Parquet file of its own, which never changes:
`rows/scenario=S/dataset=D/<cell>-<attempt>.parquet`. This page is made from `benchmarks/records.py`
(`python -m benchmarks.rows_doc > docs/rows.md`). Row format: {ROW_FORMAT}.

To read them elsewhere: `pyarrow.dataset.dataset("results/quick/rows", partitioning="hive").to_table()`, or
`pandas.read_parquet("results/quick/rows", partitioning=None)`. `scenario` and `dataset` stand in the files too, so a
file says everything wherever it lies.

Fractions lie in [0, 1]. `↑` marks numbers that are better when higher, `↓` when lower. NaN and infinity are
failures, never values. States: {", ".join(f"`{state.value}`" for state in State)}.
"""


def rows_markdown() -> str:
    """Returns the documentation of all columns as Markdown."""
    own = [name for name in Row.model_fields if name not in {**Provenance.model_fields, **Metrics.model_fields}]
    sections: list[tuple[str, type[BaseModel], list[str]]] = [
        ("Identity and end", Row, own),
        ("Where it came from", Provenance, list(Provenance.model_fields)),
        ("What was measured", Metrics, list(Metrics.model_fields)),
        ("One entry of `layers`", LayerRecord, list(LayerRecord.model_fields)),
        ("One entry of `modules`", ModuleRecord, list(ModuleRecord.model_fields)),
        ("One entry of `stages`", StageRecord, list(StageRecord.model_fields)),
    ]
    return "\n".join([_INTRODUCTION, *("\n".join(_section(*section)) for section in sections)])


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

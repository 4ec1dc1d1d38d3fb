"""Parquet files of small grey images, and the data set that they make."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.data.datasets import Dataset, load_dataset

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def png(grey: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (4, 4), grey).save(buffer, "PNG")
    return buffer.getvalue()


def class_metadata(column: str, names: Sequence[str] | None) -> dict[str, str]:
    feature = {"_type": "ClassLabel", "names": list(names)} if names else {"_type": "Value", "dtype": "int64"}
    return {"huggingface": json.dumps({"info": {"features": {column: feature}}})}


def write_images(
    path: Path,
    labels: Sequence[int | None] = (0, 1, 0, 1),
    *,
    images: Sequence[bytes | None] | None = None,
    columns: tuple[str, str] = ("image", "label"),
    kind: pa.DataType = STRUCT,
    names: Sequence[str] | None = ("cat", "dog"),
    metadata: dict[str, str] | None = None,
) -> None:
    images = [png(10 * (i + 1)) for i in range(len(labels))] if images is None else images
    values = [{"bytes": image, "path": "x.png"} for image in images] if kind == STRUCT else images
    table = pa.table({columns[0]: pa.array(values, kind), columns[1]: pa.array(labels, pa.int64())})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata(metadata or class_metadata(columns[1], names)), path)


def load_pets(root: Path, name: str = "parquet:pets") -> Dataset:
    return load_dataset(name, input_shape=(1, 4, 4), data_root=root, cache=root / "cache")

"""Reads rows of Parquet into Python objects; makes the file too, so that it is one that pyarrow wrote."""

import hashlib
import json
import time

from serve import need, serve

(pa,) = need(pyarrow="pyarrow")
import pyarrow.parquet as pq  # noqa: E402

# One row group is read at a time by both sides.
GROUP = 10_000


def make(path, times, **more):
    with open(more["json"], encoding="utf-8") as source:
        rows = json.load(source)
    turn = pa.struct([("from", pa.string()), ("value", pa.string())])
    schema = pa.schema([("id", pa.string()), ("conversations", pa.list_(turn))])
    table = pa.concat_tables([pa.Table.from_pylist(rows, schema=schema)] * times)
    pq.write_table(table, path, compression="zstd", row_group_size=GROUP)
    return {"seconds": 0}


def batches(path):
    return pq.ParquetFile(path).iter_batches(batch_size=GROUP)


def read(path):
    started = time.perf_counter()
    rows = 0
    for batch in batches(path):
        rows += len(batch.to_pylist())
    return {"seconds": time.perf_counter() - started, "rows": rows}


def digest(path):
    found = hashlib.sha256()
    for batch in batches(path):
        for row in batch.to_pylist():
            found.update(json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return {"seconds": 0, "digest": found.hexdigest()}


serve(make=make, read=read, digest=digest)

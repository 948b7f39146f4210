"""Writes rows of pixels with pyarrow: one bytes object a row, as pictures come out of a decoder one by one."""

import base64
import hashlib
import time

from serve import need, serve

pa, np = need(pyarrow="pyarrow", numpy="numpy")
kept = []


def make(block, rows):
    pixels = np.frombuffer(base64.b64decode(block), dtype=np.uint8)
    kept[:] = [("row-%d" % at, (pixels ^ np.uint8(at & 255)).tobytes()) for at in range(rows)]
    return {"seconds": 0}


def write(path, batch):
    width = len(kept[0][1])
    schema = pa.schema(
        [pa.field("id", pa.utf8(), nullable=False), pa.field("pixels_HWC", pa.binary(width), nullable=False)]
    )
    started = time.perf_counter()
    with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for first in range(0, len(kept), batch):
            part = kept[first : first + batch]
            ids = pa.array([row[0] for row in part], type=pa.utf8())
            pixels = pa.array([row[1] for row in part], type=pa.binary(width))
            writer.write_batch(pa.record_batch([ids, pixels], schema=schema))
    return {"seconds": time.perf_counter() - started}


def read(path):
    digest = hashlib.sha256()
    with pa.memory_map(path) as source:
        reader = pa.ipc.open_file(source)
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            for name, pixels in zip(batch.column(0), batch.column(1)):
                digest.update(name.as_py().encode())
                digest.update(pixels.as_py())
    return {"seconds": 0, "digest": digest.hexdigest()}


serve(make=make, write=write, read=read)

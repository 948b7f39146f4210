"""Makes Arrow shards of a zip of pictures: zipfile, Pillow, pyarrow, one shard a process."""

import hashlib
import time
import zipfile
from io import BytesIO

from serve import need, serve

pillow, pa = need(PIL="pillow", pyarrow="pyarrow")
import pictures  # noqa: E402

BATCH = 32


def shard_part(task):
    zip_path, names, into = task
    before = time.process_time()
    width = pictures.SIZE * pictures.SIZE * 3
    schema = pa.schema([("id", pa.utf8()), ("pixels_HWC", pa.binary(width))])
    with zipfile.ZipFile(zip_path) as archive, pa.OSFile(into, "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for first in range(0, len(names), BATCH):
            part = names[first : first + BATCH]
            pixels = [pictures.square(BytesIO(archive.read(name))) for name in part]
            ids = pa.array([name.replace(".jpg", "") for name in part], type=pa.utf8())
            writer.write_batch(pa.record_batch([ids, pa.array(pixels, type=pa.binary(width))], schema=schema))
    return time.process_time() - before


def shards(zip_path, parts, into):
    return pictures.timed(shard_part, [(zip_path, part, path) for part, path in zip(parts, into)])


def digest(paths):
    found = hashlib.sha256()
    for path in paths:
        with pa.memory_map(path) as source:
            reader = pa.ipc.open_file(source)
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                for name, pixels in zip(batch.column(0), batch.column(1)):
                    found.update(name.as_py().encode())
                    found.update(pixels.as_py())
    return {"seconds": 0, "digest": found.hexdigest()}


serve(start=pictures.start, shards=shards, digest=digest)

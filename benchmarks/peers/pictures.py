"""Crops pictures with Pillow as LLaVA's processor does, in processes that are started once."""

import multiprocessing
import time

from serve import need, serve

(pillow,) = need(PIL="pillow")
from PIL import Image  # noqa: E402

SIZE = 336
pool = None


def square(data):
    """Shortest edge to 336, bicubic, then the centre: CLIPImageProcessor's resize and crop."""
    picture = Image.open(data).convert("RGB")
    width, height = picture.size
    target = int(SIZE * max(width, height) / min(width, height))
    size = (SIZE, target) if width <= height else (target, SIZE)
    picture = picture.resize(size, Image.BICUBIC)
    left, top = (size[0] - SIZE) // 2, (size[1] - SIZE) // 2
    return picture.crop((left, top, left + SIZE, top + SIZE)).tobytes()


def crop_part(task):
    paths, into = task
    before = time.process_time()
    if into is None:
        for path in paths:
            square(path)
    else:
        with open(into, "wb") as sink:
            for path in paths:
                sink.write(square(path))
    return time.process_time() - before


def ready(_):
    time.sleep(0.05)
    return 1


def start(processes):
    global pool
    pool = multiprocessing.get_context("fork").Pool(processes)
    pool.map(ready, range(processes), chunksize=1)
    return {"seconds": 0}


def timed(work, tasks):
    started = time.perf_counter()
    cpu = sum(pool.map(work, tasks, chunksize=1))
    return {"seconds": time.perf_counter() - started, "cpu": cpu}


def crop(parts, into=None):
    return timed(crop_part, list(zip(parts, into or [None] * len(parts))))


if __name__ == "__main__":
    serve(start=start, crop=crop)

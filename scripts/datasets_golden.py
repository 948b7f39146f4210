"""Makes test/data/fixtures: folders as Hugging Face `datasets` sees and saves them.

Not needed by the tests, which read what is committed. Run from the repository's root with datasets installed:
python scripts/datasets_golden.py

splits.json  random layouts of folders, and the splits that get_data_patterns finds in each
saved/       a DatasetDict of two splits as save_to_disk writes it, ids beyond 2^53
pictures/    rows of messages with pictures in their cells, as Parquet of the hub's form and as save_to_disk writes them
"""

import io
import json
import os
import random
import shutil
import tempfile

import datasets
from datasets.data_files import DataFilesDict, get_data_patterns

OUT = "test/data/fixtures"
WORDS = ["train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval", "evaluation"]
WORDS += ["rows", "data", "Train", "contrain", "devil", "part"]
SEPARATORS = ["-", "_", ".", " ", ""]
FOLDERS = ["", "", "", "data/", "en/", "train/", "my_val/", "test-v2/", "data/train/", "a/b/", ".cache/", "__pycache__/"]
FOLDERS += ["trained/"]
OTHERS = ["a.jsonl", "0001.parquet", "dataset_info.json", "config.json", ".hidden.json", "train_test.jsonl"]


def name():
    kind = random.random()
    word = random.choice(WORDS)
    if kind < 0.3:
        return f"{word}-0000{random.randint(0, 1)}-of-00002.parquet"
    if kind < 0.5:
        return f"{word}.jsonl"
    if kind < 0.6:
        return f"{word}_sft-00000-of-00001.parquet"
    if kind < 0.8:
        return f"{random.choice(WORDS)}{random.choice(SEPARATORS)}{word}{random.choice(['', '0', '_1'])}.json"
    return random.choice([*OTHERS, f"x {word} y.jsonl"])


def splits_of(files):
    with tempfile.TemporaryDirectory() as root:
        for file in files:
            os.makedirs(os.path.dirname(os.path.join(root, file)), exist_ok=True)
            open(os.path.join(root, file), "w").close()
        try:
            found = DataFilesDict.from_patterns(get_data_patterns(root), base_path=root)
        except FileNotFoundError:
            return {}
        return {str(split): sorted({os.path.relpath(path, root) for path in paths}) for split, paths in found.items()}


def saved_rows(split, count):
    turns = lambda i: [{"from": "human", "value": f"{split} {i}?"}, {"from": "gpt", "value": "Yes."}]
    return datasets.Dataset.from_dict(
        {
            "id": [9007199254740992 + i for i in range(count)],
            "conversations": [turns(i) for i in range(count)],
            "score": [0.5] * count,
        }
    )


def pictured_rows():
    """Four rows of one picture each, 32 x 32 of one colour; the paths are two of one name, one of its own, and none."""
    from PIL import Image

    def cell(colour, path):
        out = io.BytesIO()
        Image.new("RGB", (32, 32), colour).save(out, "PNG")
        return {"bytes": out.getvalue(), "path": path}

    question = {"role": "user", "content": [{"type": "image", "text": None}, {"type": "text", "text": "What colour?"}]}
    answer = lambda text: {"role": "assistant", "content": [{"type": "text", "text": text}]}
    colours = [("red", "image.png"), ("lime", "lime.png"), ("blue", None), ("white", "image.png")]
    return datasets.Dataset.from_dict(
        {
            "id": [str(i) for i in range(4)],
            "images": [[cell(*colour)] for colour in colours],
            "messages": [[question, answer(colour)] for colour, _ in colours],
        }
    ).cast_column("images", datasets.List(datasets.Image()))


def main():
    random.seed(0)
    cases = []
    while len(cases) < 300:
        files = sorted({random.choice(FOLDERS) + name() for _ in range(random.randint(1, 5))})
        cases.append({"files": files, "splits": splits_of(files)})
    with open(f"{OUT}/splits.json", "w") as out:
        json.dump({"datasets": datasets.__version__, "cases": cases}, out)
    shutil.rmtree(f"{OUT}/saved", ignore_errors=True)
    datasets.DatasetDict({"train": saved_rows("train", 3), "test": saved_rows("test", 2)}).save_to_disk(f"{OUT}/saved")
    shutil.rmtree(f"{OUT}/pictures", ignore_errors=True)
    os.makedirs(f"{OUT}/pictures/hub/data")
    pictured_rows().to_parquet(f"{OUT}/pictures/hub/data/train-00000-of-00001.parquet")
    pictured_rows().save_to_disk(f"{OUT}/pictures/saved")


if __name__ == "__main__":
    main()

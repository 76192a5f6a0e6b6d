"""Lithify by its program: what it stores, what comes back, how long one thread takes."""

import json
import os
import resource
import struct
import subprocess
from collections import defaultdict
from pathlib import Path

import numpy as np

# A bound that every reconstruction keeps, so that the coarsest rate is enough.
ANY = "psnr=1e-3"


class Model:
    """A model file: safetensors with a card."""

    def __init__(self, path):
        self.path, data = Path(path), Path(path).read_bytes()
        (n,) = struct.unpack("<Q", data[:8])
        self.header, self.data = json.loads(data[8 : 8 + n]), data[8 + n :]
        self.metadata = self.header.pop("__metadata__")
        self.card = json.loads(self.metadata["lithify"])
        self.bytes = len(data)

    def parameters(self):
        return sum(int(np.prod(t["shape"])) for t in self.header.values())

    def gains(self):
        name = self.card.get("gains")
        if not name:
            return None
        begin, end = self.header[name]["data_offsets"]
        return np.frombuffer(self.data[begin:end], "<f4").reshape(self.header[name]["shape"])

    def with_gains(self, row, path):
        """The same model with one rate, whose gains these are."""
        header, parts, at = {"__metadata__": self.metadata}, [], 0
        for name, t in sorted(self.header.items(), key=lambda item: item[1]["data_offsets"]):
            part = self.data[slice(*t["data_offsets"])]
            shape = t["shape"]
            if name == self.card["gains"]:
                part, shape = row.astype("<f4").tobytes(), [1, len(row)]
            header[name] = {"dtype": t["dtype"], "shape": shape, "data_offsets": [at, at + len(part)]}
            parts.append(part)
            at += len(part)
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))
        return path

    def rates(self, between):
        """(name, gains) of each rate and of so many between each two, as the codec itself interpolates them."""
        gains = self.gains()
        if gains is None:
            return
        for i, row in enumerate(gains):
            yield f"{i}", row
            for k in range(1, between + 1 if i + 1 < len(gains) else 1):
                part = round(256 * k / (between + 1)) / 256
                yield f"{i + part:.3f}", np.exp2(np.log2(row.astype("f8")) * (1 - part) + np.log2(gains[i + 1].astype("f8")) * part)


class Lithify:
    """Pictures of one shape are one array [picture, band, row, column] with a chunk for each: no chunk knows of another.

    Seconds are of one thread, user and system, without what a run on 8 x 8 samples takes: the start of the program, the model.
    """

    def __init__(self, program, pictures, work):
        self.program, self.work, self.n = str(Path(program).resolve()), Path(work), len(pictures)
        groups = defaultdict(list)
        for i, x in enumerate(pictures):
            groups[x.shape].append(i)
        self.groups, self.idle = [], {}
        for k, (shape, which) in enumerate(groups.items()):
            name = f"g{k}"
            stack = np.stack([pictures[i] for i in which])
            np.save(self.work / f"{name}.npy", stack)
            np.save(self.work / f"{name}small.npy", stack[:1, :, :8, :8])
            span = float(stack.max()) - float(stack.min())
            self.groups.append((name, shape, which, span))

    def run(self, *args):
        """JSON and seconds."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        env = {k: v for k, v in os.environ.items() if k != "LITHIFY_MODELS"}
        command = [self.program, *map(str, args), "--json", "-q", "-T", "1"]
        done = subprocess.run(command, capture_output=True, text=True, env=env)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return json.loads(done.stdout), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def there_and_back(self, name, chunk, bound, codec, effort, model):
        chunks = ",".join(f"dim_{i}={n}" for i, n in enumerate((1, *chunk)))
        store, back = self.work / f"{name}.zarr", self.work / f"{name}.back.npy"
        given, extra = (f"learned:{model}", ["--model", model]) if model else (codec, [])
        said, encode_s = self.run(
            "compress", self.work / f"{name}.npy", store, "-f", "-b", f"{name}:{bound}", "--codec", given, "--effort", effort,
            "--chunks", chunks,
        )  # fmt: skip
        _, decode_s = self.run("decompress", store, back, "-f", *extra)
        values = np.load(back)
        # Chunk i is picture i; one of nothing but the fill value has no file.
        files = [store / name / "c" / str(i) / "0/0/0" for i in range(len(values))]
        stored = [p.stat().st_size if p.exists() else 0 for p in files]
        if sum(stored) != said["variables"][0]["stored_bytes"]:
            raise SystemExit(f"{store}: {sum(stored)} bytes lie there, {said['variables'][0]['stored_bytes']} were said")
        return values, stored, encode_s, decode_s

    def code(self, codec, mse=None, effort=5, model=None):
        """With at most that mean squared error in each group; without one, the coarsest rate. Returns what peers.code does."""
        decoded, n_bytes, seconds = [None] * self.n, [0] * self.n, np.zeros(2)
        for name, shape, which, span in self.groups:
            bound = ANY if mse is None else f"psnr={10 * np.log10(max(span, 1e-30) ** 2 / mse):.6f}"
            values, stored, *took = self.there_and_back(name, shape, bound, codec, effort, model)
            if (idle := (name, codec, model)) not in self.idle:
                small = (shape[0], min(8, shape[1]), min(8, shape[2]))
                self.idle[idle] = np.array(self.there_and_back(f"{name}small", small, ANY, codec, effort, model)[2:])
            for i, x, n in zip(which, values, stored, strict=True):
                decoded[i], n_bytes[i] = x, n
            seconds += np.maximum(np.array(took) - self.idle[idle], 0)
        return decoded, n_bytes, [0] * self.n, *seconds

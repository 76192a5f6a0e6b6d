"""The native half of the package; see `lithify` for what is meant to be called."""

import os
from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

__version__: str
__all__ = [
    "BoundError",
    "CorruptError",
    "Source",
    "__version__",
    "append",
    "append_file",
    "bit_pairs",
    "check_output",
    "compare",
    "compress",
    "compress_file",
    "configure",
    "decode",
    "decode_many",
    "decompress_file",
    "encode",
    "encode_many",
    "field_stats",
    "header",
    "join",
    "judge",
    "mantissa_bits",
    "outline",
    "pack",
    "plan",
    "shard",
    "skeleton",
    "unshard",
    "verify_store",
]

class BoundError(ValueError): ...
class CorruptError(ValueError): ...

_Path = str | os.PathLike[str]
_Progress = Callable[[str, int, int], None]
_Read = Callable[[str, tuple[int, ...], tuple[int, ...]], NDArray[Any] | bytes | list[str]]

def encode(array: NDArray[Any], configuration: str) -> tuple[bytes, dict[str, Any]]: ...
def encode_many(arrays: Sequence[NDArray[Any]], configuration: str) -> list[tuple[bytes, dict[str, Any]]]: ...
def pack(
    array: NDArray[Any], bound: str, codec: str, effort: int, scale: float, offset: float, missing: Sequence[int]
) -> tuple[bytes, dict[str, Any]]: ...
def decode(payload: Buffer, start: Sequence[int] | None = None, count: Sequence[int] | None = None) -> NDArray[Any]: ...
def decode_many(payloads: Sequence[Buffer]) -> list[NDArray[Any]]: ...
def join(axis: int, payloads: Sequence[Buffer]) -> bytes: ...
def header(payload: Buffer) -> dict[str, Any]: ...
def field_stats(array: NDArray[Any], configuration: str) -> dict[str, Any]: ...
def compare(
    original: NDArray[Any], decoded: NDArray[Any], scale: float, offset: float, missing: Sequence[int]
) -> str: ...
def configure(
    bound: str,
    codec: str,
    effort: int,
    scale: float,
    offset: float,
    missing: Sequence[int],
    field: dict[str, Any] | None = None,
    step: float | None = None,
) -> str: ...
def plan(
    tree: dict[str, Any],
    read: _Read,
    bounds: Sequence[str],
    codec: str,
    effort: int,
    chunks: Sequence[tuple[str, int]],
    variables: Sequence[str],
    threads: int,
    known: dict[str, tuple[dict[str, Any] | None, int | None]] | None = None,
) -> dict[str, dict[str, Any]]: ...
def check_output(path: _Path, force: bool) -> None: ...
def outline(
    tree: dict[str, Any],
    bounds: Sequence[str],
    codec: str,
    effort: int,
    chunks: Sequence[tuple[str, int]],
    variables: Sequence[str],
) -> dict[str, dict[str, Any]]: ...
def bit_pairs(array: NDArray[Any], origin: Sequence[int], configuration: str) -> list[int]: ...
def mantissa_bits(counts: Sequence[int], n_dims: int, dtype: str) -> int: ...
def shard(payloads: Sequence[bytes | None]) -> bytes: ...
def unshard(shard: Buffer, n: int) -> list[bytes | None]: ...
def judge(
    bound: str, configuration: str, dtype: str, chunks: Sequence[dict[str, Any]], attempt: int
) -> str | None: ...
def skeleton(
    tree: dict[str, Any],
    read: _Read,
    output: _Path,
    bounds: Sequence[str],
    codec: str,
    effort: int,
    chunks: Sequence[tuple[str, int]],
    variables: Sequence[str],
    encoded: dict[str, dict[str, Any]],
    previous: dict[str, str],
) -> str: ...
def compress_file(
    input: _Path,
    output: _Path,
    bounds: Sequence[str],
    codec: str,
    effort: int,
    chunks: Sequence[tuple[str, int]],
    variables: Sequence[str],
    force: bool,
    threads: int,
    progress: _Progress | None = None,
) -> str: ...
def compress(
    tree: dict[str, Any],
    read: _Read,
    output: _Path,
    bounds: Sequence[str],
    codec: str,
    effort: int,
    chunks: Sequence[tuple[str, int]],
    variables: Sequence[str],
    force: bool,
    threads: int,
    progress: _Progress | None = None,
) -> str: ...
def append_file(
    input: _Path, store: _Path, dim: str, threads: int, progress: _Progress | None = None
) -> str: ...
def append(
    tree: dict[str, Any], read: _Read, store: _Path, dim: str, threads: int, progress: _Progress | None = None
) -> str: ...
def decompress_file(
    input: _Path, output: _Path, force: bool, lineage: bool, threads: int, progress: _Progress | None = None
) -> os.PathLike[str]: ...
def verify_store(store: _Path, against: _Path | None, threads: int, progress: _Progress | None = None) -> str: ...
@final
class Source:
    def __new__(cls, path: _Path) -> Source: ...
    def tree(self) -> dict[str, Any]: ...
    def read(self, path: str, start: Sequence[int], count: Sequence[int]) -> Any: ...
    def certificate(self, path: str) -> str | None: ...
    def layout(self, path: str) -> tuple[list[int], list[int] | None, str] | None: ...
    def bytes_stored(self, path: str) -> int | None: ...
    @property
    def bytes_read(self) -> int | None: ...
    @property
    def format(self) -> str: ...
    @property
    def warnings(self) -> list[str]: ...

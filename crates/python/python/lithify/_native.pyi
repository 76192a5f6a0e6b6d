"""The native half of the package; see `lithify` for what is meant to be called."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer, disjoint_base

__version__: str

class BoundError(ValueError): ...
class CorruptError(ValueError): ...

Path = str | os.PathLike[str]
Progress = Callable[[str, int, int], None]
Read = Callable[[str, tuple[int, ...], tuple[int, ...]], NDArray[Any] | bytes | list[str]]

def encode(array: NDArray[Any], configuration: str) -> tuple[bytes, dict[str, Any]]: ...
def encode_many(arrays: Sequence[NDArray[Any]], configuration: str) -> list[tuple[bytes, dict[str, Any]]]: ...
def decode(payload: Buffer, start: Sequence[int] | None = None, count: Sequence[int] | None = None) -> NDArray[Any]: ...
def decode_many(payloads: Sequence[Buffer]) -> list[NDArray[Any]]: ...
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
    read: Read,
    bounds: Sequence[str],
    codec: str,
    effort: int,
    chunks: Sequence[tuple[str, int]],
    variables: Sequence[str],
    threads: int,
    known: dict[str, tuple[dict[str, Any] | None, int | None]] | None = None,
) -> dict[str, dict[str, Any]]: ...
def check_output(path: Path, force: bool) -> None: ...
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
    read: Read,
    output: Path,
    bounds: Sequence[str],
    codec: str,
    effort: int,
    chunks: Sequence[tuple[str, int]],
    variables: Sequence[str],
    encoded: dict[str, dict[str, Any]],
    previous: dict[str, str],
) -> str: ...
def compress_file(
    input: Path,
    output: Path,
    bounds: Sequence[str],
    codec: str,
    effort: int,
    chunks: Sequence[tuple[str, int]],
    variables: Sequence[str],
    force: bool,
    threads: int,
    progress: Progress | None = None,
) -> str: ...
def compress(
    tree: dict[str, Any],
    read: Read,
    output: Path,
    bounds: Sequence[str],
    codec: str,
    effort: int,
    chunks: Sequence[tuple[str, int]],
    variables: Sequence[str],
    force: bool,
    threads: int,
    progress: Progress | None = None,
) -> str: ...
def decompress_file(
    input: Path, output: Path, force: bool, lineage: bool, threads: int, progress: Progress | None = None
) -> os.PathLike[str]: ...
def verify_store(store: Path, against: Path | None, threads: int, progress: Progress | None = None) -> str: ...
@disjoint_base
class Source:
    def __new__(cls, path: Path) -> Source: ...
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

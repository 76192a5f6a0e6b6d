"""Bounds as Python users give them, as the rules that the native half takes."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Union

Bounds = Union[str, Mapping[str, str], Iterable[str], None]
"""One bound for all data variables, ``{"T": "abs=0.05"}`` (``"*"``: all others), rules as the command line's ``-b``, or None: lossless."""


def rules(bound: Bounds) -> list[str]:
    """``["T:abs=0.05", "range=1e-4"]``."""
    if bound is None:
        return []
    if isinstance(bound, str):
        return [bound]
    if isinstance(bound, Mapping):
        bad = {k: v for k, v in bound.items() if not isinstance(v, str)}
        if bad:
            raise TypeError(f"bounds are strings such as 'abs=0.05'; got {bad}")
        return [b if name == "*" else f"{name}:{b}" for name, b in bound.items()]
    return list(bound)


def checked_effort(effort: int) -> int:
    """An effort that there is."""
    if operator.index(effort) not in range(1, 10):
        raise ValueError(f"effort is 1 (fast) to 9 (small), not {effort}")
    return int(effort)


def chunk_rules(chunks: Mapping[str, int] | None) -> list[tuple[str, int]]:
    """Chunk lengths by dimension name, checked."""
    out = []
    for dim, n in (chunks or {}).items():
        if int(n) < 1:
            raise ValueError(f"the chunk length of {dim} must be at least 1, not {n}")
        out.append((str(dim), int(n)))
    return out

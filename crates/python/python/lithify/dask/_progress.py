"""A bar on a terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType


class Bar:
    """Called with what was done, of so many bytes; draws on stderr at most ten times a second, and not at all for None."""

    WIDTH = 30

    def __init__(self, raw_bytes: int | None) -> None:
        self.all = None if raw_bytes is None else max(raw_bytes, 1)
        self.done = self.coded = 0
        self.started = self.drawn = time.monotonic()

    def __call__(self, variable: str, raw_bytes: int, coded_bytes: int) -> None:
        if self.all is None:
            return
        self.done += raw_bytes
        self.coded += coded_bytes
        now = time.monotonic()
        if now - self.drawn >= 0.1 or self.done >= self.all:
            self.drawn = now
            # A variable that is encoded again would go beyond the end.
            part = min(self.done / self.all, 1.0)
            bar = ("#" * round(part * self.WIDTH)).ljust(self.WIDTH)
            speed = self.done / 1e6 / max(now - self.started, 1e-3)
            ratio = self.done / max(self.coded, 1)
            sys.stderr.write(f"\r[{bar}] {part:4.0%} {speed:.0f} MB/s, ratio {ratio:.1f}  {variable}\x1b[K")
            sys.stderr.flush()

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.all is not None:
            sys.stderr.write("\n")

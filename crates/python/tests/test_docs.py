"""The examples of the documents run: a page's python blocks in order, in one namespace, in a folder where `data/` is the bundled data."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = {p.relative_to(ROOT): p.read_text() for p in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]}


@pytest.mark.parametrize("page", sorted(p for p, text in PAGES.items() if BLOCK.search(text)), ids=str)
def test_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for block in BLOCK.finditer(PAGES[page]):
        # An error is reported with the page's own line.
        lines = PAGES[page][: block.start(1)].count("\n")
        exec(compile("\n" * lines + block[1], page, "exec"), names)

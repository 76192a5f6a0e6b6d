#!/usr/bin/env python3
"""Writes the table of results in README.md from docs/bench/results.csv."""

import csv
import pathlib
import re

root = pathlib.Path(__file__).resolve().parent.parent
coders = ["Lithify", "SPERR", "SZ3", "ZFP", "JPEG-LS", "JPEG 2000"]
bounds = ["range=1e-3"]
cells: dict[tuple[str, str], dict[str, float]] = {}
for row in csv.DictReader((root / "docs/bench/results.csv").open()):
    # One row for a coder: ours at the default effort, the best mode of the others.
    if row["bound"] not in bounds or (row["coder"] == "Lithify" and row["mode"] != "auto@5"):
        continue
    label = f"{row['field']} [{row['shape'].replace('x', ', ')}] {row['dtype']}"
    cell = cells.setdefault((label, row["bound"]), {})
    cell[row["coder"]] = max(cell.get(row["coder"], 0.0), float(row["ratio"]))


def ratio(v: float | None, best: float) -> str:
    if v is None:
        return "-"
    text = f"{v:.0f}" if v >= 100 else f"{v:.1f}" if v >= 10 else f"{v:.2f}"
    return f"**{text}**" if v == best else text


lines = ["| field | " + " | ".join(coders) + " |", "|---|" + "---:|" * len(coders)]
for (field, _), row in cells.items():
    best = max(row.values())
    lines.append(f"| {field} | " + " | ".join(ratio(row.get(c), best) for c in coders) + " |")
readme = root / "README.md"
table = "<!-- scripts/readme.py -->\n" + "\n".join(lines) + "\n<!-- end -->"
text = readme.read_text().replace("@TABLE@", "<!-- scripts/readme.py --><!-- end -->")
readme.write_text(re.sub(r"<!-- scripts/readme.py -->.*?<!-- end -->", lambda _: table, text, flags=re.S))

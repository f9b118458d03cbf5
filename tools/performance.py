#!/usr/bin/env python3
"""Puts the last report of `make bench` into docs/performance.md, and its plots beside it."""

import pathlib
import re
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- report of make bench -->\n", "<!-- end of report -->\n"


def main(target):
    bench, docs = pathlib.Path(target, "bench"), ROOT / "docs"
    report = (bench / "report.md").read_text()
    if "failed**" in report:
        sys.exit(f"{bench / 'report.md'} tells of figures that failed")
    page = docs / "performance.md"
    text = page.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n{report.strip()}\n\n{END}{after}")
    shutil.rmtree(docs / "performance", ignore_errors=True)
    (docs / "performance").mkdir()
    for name in sorted(set(re.findall(r"\(performance/([a-z0-9-]+\.svg)\)", report))):
        shutil.copy(bench / "performance" / name, docs / "performance" / name)


if __name__ == "__main__":
    main(sys.argv[1])

"""The README's block of ``make run``: what the run prints, to the last hash, beside what the README says.

``python -m scripts.readme_run`` runs the synthetic market and rewrites the block, ``--check`` only compares (exit
status 1 when it is stale). Seconds and speed are the machine's and are not compared; the run's folder is a fixed name.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from core.console import adapt_console
from core.errors import FatalError

ROOT: Final = Path(__file__).resolve().parent.parent
README: Final = ROOT / "README.md"
FOLDER: Final = "var/runs/20261120T130150-synthetic-42"
_BLOCK: Final = re.compile(r"(?<=```text\n)Done\. .*?(?=```)", re.DOTALL)
_OF_THE_MACHINE: Final = re.compile(r"in [\d.,]+ s \([\d,]+/s\)")


def block_of(document: str) -> str:
    """The block in a document. Raises FatalError where it has none."""
    match = _BLOCK.search(document)
    if match is None:
        raise FatalError(f"{README}: expected a block ```text that begins with `Done. `, as `make run` ends; add one")
    return match[0]


def printed_by_run() -> str:
    """The summary that the run prints, with the README's folder in place of its own. Raises FatalError."""
    with TemporaryDirectory(prefix="njord-readme-") as folder:
        out, switch = f"{folder}/run", f"{folder}/switch"
        command = [sys.executable, "-m", "apps.fleet", "--plain", "--out", out]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("NJORD_")}
        environ |= {"NJORD_RISK__KILL_SWITCH_FILE": switch, "PYTHONIOENCODING": "utf-8"}
        end = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    start = end.stdout.find("Done. ")
    if end.returncode or start < 0:
        raise FatalError(f"the run failed with status {end.returncode}:\n{end.stdout}{end.stderr}")
    summary = end.stdout[start:].partition("\n  Try next")[0]
    return summary.rstrip().replace(out, FOLDER) + "\n"


def comparable(block: str) -> list[str]:
    """The lines of a block without what is the machine's."""
    return [_OF_THE_MACHINE.sub("in … s (…/s)", line).strip() for line in block.splitlines() if line.strip()]


def main(arguments: list[str] | None = None) -> int:
    """Rewrite or check; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m scripts.readme_run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 when the block is stale")
    check: bool = parser.parse_args(arguments).check
    document = README.read_text(encoding="utf-8")
    written, printed = block_of(document), printed_by_run()
    if comparable(written) == comparable(printed):
        print("README.md: as the run prints it")
        return 0
    if check:
        print(f"README.md: stale; run `python -m scripts.readme_run` and review the diff. It prints:\n{printed}")
        return 1
    README.write_text(document.replace(written, printed), encoding="utf-8")
    print("README.md: rewritten; review the diff")
    return 0


if __name__ == "__main__":
    adapt_console()
    sys.exit(main())

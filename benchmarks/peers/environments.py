"""An environment of its own for each peer, with every version pinned, built when it is first needed and then kept."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.workload import ROOT

PEERS: Final = ("backtesting", "backtrader", "nautilus_trader", "vectorbt")
REQUIREMENTS: Final = Path(__file__).parent / "requirements"
FOLDER: Final = ROOT / "var" / "benchmarks" / "peers"
_INSTALL_TIMEOUT_S: Final = 600.0
_SHOWN: Final = 300  # characters of what an installer said


class PeerMissingError(RuntimeError):
    """A peer cannot be had on this machine; the text says why."""


def python_of(peer: str) -> Path:
    """The interpreter of the peer's environment under ``var/benchmarks/peers``. Raises PeerMissingError."""
    requirements = REQUIREMENTS / f"{peer}.txt"
    folder = FOLDER / peer
    python, stamp = folder / "bin" / "python", folder / "requirements.txt"
    if python.exists() and stamp.exists() and stamp.read_text() == requirements.read_text():
        return python
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        raise PeerMissingError(f"{peer}: expected uv beside {sys.executable} or on the PATH to install it, got none")
    FOLDER.mkdir(parents=True, exist_ok=True)
    _run(peer, uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
    _run(peer, uv, "pip", "install", "--quiet", "--python", str(python), "--requirement", str(requirements))
    shutil.copy(requirements, stamp)
    return python


def _run(peer: str, *words: str) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_INSTALL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise PeerMissingError(f"{peer}: could not be installed within {_INSTALL_TIMEOUT_S:g} s") from None
    if done.returncode:
        raise PeerMissingError(f"{peer}: could not be installed: {done.stderr.strip()[-_SHOWN:]}")

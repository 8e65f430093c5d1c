"""The check that decision code reads no ambient state and does no input or output of its own.

The same events must give the same answers on every machine: decisions may depend on no clock, randomness, set order,
environment or file. Run as ``python -m scripts.check_ambient [PATH…]``. A line that has to be an exception ends in
``# ambient: reason``. Exit status: 0 clean, 1 findings, 2 a path that cannot be checked.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.imported_names import annotation_nodes, imported_names, qualified
from scripts.io_symbols import IO_BUILTINS, is_io, path_method
from scripts.set_expressions import SetTypes

ROOT: Final = Path(__file__).resolve().parent.parent

DECISION_CODE: Final = ("core", "strategies", "risk", "execution", "portfolio")

# The modules of these packages that are hosts rather than deciders, and the ambient state that each has to touch.
EXEMPT: Final = {
    "core/clock.py": "the machine's clock, injected from here",
    "core/config/load.py": "files and the environment",
    "core/kill_switch.py": "a file and a Redis key, switched by people",
    "core/logging/setup.py": "log lines carry the machine's time",
    "core/journal/rotation.py": "closed files, by their age",
    "core/config/secrets.py": "key files, and random initialisation vectors",
    "core/service/daemon.py": "the host of a daemon: clock, process, service manager",
    "core/service/supervisor.py": "the host of a daemon while it has no service",
    "strategies/time_budget.py": "a watcher that takes the processor back from a strategy; decides nothing",
}

# The rooms whose work is input and output. In every other respect they are checked like the rest.
IO_ROOMS: Final = {
    "core/bus/": "the connection to Redis",
    "core/config/": "files of the configuration",
    "core/console.py": "the terminal of a command",
    "core/disk.py": "the calls that write journals and ledgers",
    "core/journal/": "files of journals",
    "core/ledger/": "files of ledgers and snapshots",
    "core/logging/": "the log's file and stderr",
    "core/service/": "hosts of daemons: sockets, signals, files",
    "strategies/reloading.py": "sources of strategies, on a reload; decides nothing",
}

_IO: Final = "a decider gets events and answers with events; let its host read and write"
_TIME: Final = "take time from the event (`event.ts_ns`)"
_RANDOM: Final = "derive identities with `core.ids`; draw from a generator that was given its seed"
_ENVIRONMENT: Final = "read it in the host and pass it in as configuration"
_ADDRESS: Final = "it differs from process to process; use `core.ids.stem` or the value itself"
_ORDER: Final = "a set has no order; iterate over `sorted(…)`, or keep a dict or a tuple"
_SUM: Final = "floats add up differently since Python 3.12; use `ordered_sum` or `integer_sum` of `core.exact`"

_BUILTINS: Final = ("hash", "id", "sum")
_BANNED: Final = {
    **dict.fromkeys(
        [
            *(f"time.{name}" for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter")),
            *(f"time.{name}" for name in ("perf_counter_ns", "process_time", "process_time_ns", "thread_time")),
            *(f"time.{name}" for name in ("thread_time_ns", "clock_gettime", "clock_gettime_ns", "sleep")),
            *(f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")),
            "datetime.date.today",
            "core.clock.SystemClock",
        ],
        ("time", _TIME),
    ),
    **dict.fromkeys(
        ["os.urandom", "random.SystemRandom", "uuid.uuid1", "uuid.uuid4", "uuid.getnode"], ("randomness", _RANDOM)
    ),
    **dict.fromkeys(
        [
            *(f"os.{name}" for name in ("environ", "environb", "getenv", "getenvb", "getpid", "getcwd", "uname")),
            *("os.cpu_count", "os.getlogin", "pathlib.Path.cwd", "pathlib.Path.home", "sys.argv"),
            *("socket.gethostname", "locale.getlocale", "getpass.getuser"),
        ],
        ("environment", _ENVIRONMENT),
    ),
    **dict.fromkeys(("hash", "id"), ("identity", _ADDRESS)),
    "sum": ("sum", _SUM),
}
# Modules of which everything is banned but what is listed; a generator must be given its seed.
_BANNED_MODULES: Final = {
    "random": frozenset({"random.Random"}),
    "secrets": frozenset[str](),
    "numpy.random": frozenset({"numpy.random.default_rng", "numpy.random.Generator", "numpy.random.SeedSequence"})
    | frozenset({"numpy.random.PCG64", "numpy.random.Philox", "numpy.random.BitGenerator"}),
}
_NEEDS_SEED: Final = frozenset(
    {"random.Random", "numpy.random.default_rng", "numpy.random.SeedSequence", "numpy.random.PCG64"}
    | {"numpy.random.Philox"}
)
_MARKER: Final = re.compile(r"#\s*ambient:\s*(.*)$")


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One place that reads what it must not. ``line`` and ``column`` count from 1."""

    path: str
    line: int
    column: int
    kind: str
    symbol: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: ambient {self.kind}: {self.symbol}; {self.remedy}"


def check_source(source: str, path: str) -> list[Finding]:
    """The findings in one module's text, without those whose line carries a marker with a reason.

    Raises:
        SyntaxError: the text is not Python.
    """
    findings = sorted(set(_findings(ast.parse(source, path), path)))
    markers = {
        number: match.group(1).strip()
        for number, line in enumerate(source.splitlines(), start=1)
        if (match := _MARKER.search(line))
    }
    reported = [finding for finding in findings if not markers.get(finding.line)]
    flagged = {finding.line for finding in findings}
    for number, reason in markers.items():
        if not reason:
            reported.append(Finding(path, number, 1, "marker", "# ambient:", "say why after the colon"))
        elif number not in flagged:
            reported.append(
                Finding(path, number, 1, "marker", "# ambient:", "nothing on this line needs it; remove it")
            )
    return sorted(reported)


def _findings(tree: ast.Module, path: str) -> Iterator[Finding]:
    names = imported_names(tree, (*_BUILTINS, *IO_BUILTINS))
    integer_sums = {id(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call) and _adds_no_floats(n)}
    calls_with_arguments = {id(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call) and (n.args or n.keywords)}
    in_annotation = set(annotation_nodes(tree))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Name | ast.Attribute) or not isinstance(node.ctx, ast.Load):
            continue
        symbol = qualified(node, names)
        if symbol is None or id(node) in in_annotation or (symbol == "sum" and id(node) in integer_sums):
            continue
        reason = _banned(symbol, seeded=id(node) in calls_with_arguments)
        if reason:
            yield Finding(path, node.lineno, node.col_offset + 1, reason[0], symbol, reason[1])
    if not path.startswith(tuple(IO_ROOMS)):
        yield from _io_findings(tree, names, in_annotation, path)
    for use in SetTypes(tree).ordered_uses():
        yield Finding(path, use.lineno, use.col_offset + 1, "set order", ast.unparse(use), _ORDER)


def _io_findings(tree: ast.Module, names: dict[str, str], in_annotation: set[int], path: str) -> Iterator[Finding]:
    owners = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and qualified(node.func, names) is None and (method := path_method(node)):
            yield Finding(path, node.lineno, node.func.col_offset + 1, "I/O", method, _IO)
        if not isinstance(node, ast.Name | ast.Attribute) or not isinstance(node.ctx, ast.Load):
            continue
        symbol = qualified(node, names)
        if symbol is None or id(node) in in_annotation or id(node) in owners or symbol in _BANNED:
            continue
        if is_io(symbol):
            yield Finding(path, node.lineno, node.col_offset + 1, "I/O", symbol, _IO)


def _banned(symbol: str, *, seeded: bool) -> tuple[str, str] | None:
    if symbol in _BANNED:
        return _BANNED[symbol]
    if symbol in _NEEDS_SEED:
        return None if seeded else ("randomness", _RANDOM)
    module = symbol.rpartition(".")[0]
    if module in _BANNED_MODULES and symbol not in _BANNED_MODULES[module]:
        return ("randomness", _RANDOM)
    return None


def _adds_no_floats(call: ast.Call) -> bool:
    """True if a call of ``sum`` shows by its text that it adds integers or decimals."""
    if not call.args:
        return False
    terms = call.args[0]
    if len(call.args) > 1 and isinstance(call.args[1], ast.Call):
        return ast.unparse(call.args[1].func) == "Decimal"
    if isinstance(terms, ast.Call) and ast.unparse(terms.func) == "map":
        return ast.unparse(terms.args[0]) in ("len", "int")
    return isinstance(terms, ast.GeneratorExp | ast.ListComp) and _is_integer(terms.elt)


def _is_integer(term: ast.expr) -> bool:
    match term:
        case ast.Constant(value=int()) | ast.Compare() | ast.UnaryOp(op=ast.Not()):
            return True
        case ast.BoolOp(values=terms):
            return all(map(_is_integer, terms))
        case ast.Call(func=ast.Name(id="len" | "int")):
            return True
        case ast.BinOp(op=ast.LShift() | ast.RShift()):
            return True
    return False


def modules(paths: Iterable[Path]) -> Iterator[Path]:
    """The Python files at or under the paths, in order."""
    for path in paths:
        if path.is_dir():
            yield from sorted(path.rglob("*.py"))
        else:
            yield path


def main(arguments: list[str] | None = None) -> int:
    """Check the decision code, or the given files and folders; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("paths", nargs="*", type=Path, help=f"default: {', '.join(DECISION_CODE)}")
    roots: list[Path] = parser.parse_args(arguments).paths or [ROOT / name for name in DECISION_CODE]
    findings: list[Finding] = []
    for module in modules(roots):
        full = module.resolve()
        name = full.relative_to(ROOT).as_posix() if full.is_relative_to(ROOT) else str(module)
        if name in EXEMPT:
            continue
        try:
            findings += check_source(module.read_text(encoding="utf-8"), name)
        except (OSError, SyntaxError) as error:
            print(f"{name}: cannot be checked: {error}", file=sys.stderr)
            return 2
    for finding in findings:
        print(finding)
    if findings:
        print(
            f"{len(findings)} ambient reads, or input and output, in decision code. "
            "An exception has its reason on its line, `# ambient: why`; a module that hosts and does not decide has a "
            "row in EXEMPT or IO_ROOMS of scripts/check_ambient.py."
        )
    return 1 if findings else 0


if __name__ == "__main__":
    from core.console import adapt_console

    adapt_console()
    sys.exit(main())

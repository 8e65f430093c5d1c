"""Decision code reads no ambient time, randomness, environment or set order; the check that says so is right."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from scripts.check_ambient import EXEMPT, ROOT, check_source, main

REFUSED = {
    "import time\nnow = time.time_ns()": "time.time_ns",
    "import time as t\nnow = t.monotonic()": "time.monotonic",
    "from time import time_ns as now\nx = now()": "time.time_ns",
    "import time\ndef f(clock=time.time):\n    return clock()": "time.time",
    "from datetime import datetime\nd = datetime.now()": "datetime.datetime.now",
    "import datetime as dt\nd = dt.date.today()": "datetime.date.today",
    "from core.clock import SystemClock\nc = SystemClock()": "core.clock.SystemClock",
    "import random\nx = random.random()": "random.random",
    "import random\nx = random.Random()": "random.Random",
    "import numpy as np\nx = np.random.normal()": "numpy.random.normal",
    "import numpy as np\nx = np.random.default_rng()": "numpy.random.default_rng",
    "import uuid\nx = uuid.uuid4()": "uuid.uuid4",
    "import secrets\nx = secrets.token_hex()": "secrets.token_hex",
    "import os\nx = os.environ['A']": "os.environ",
    "from os import getenv\nx = getenv('A')": "os.getenv",
    "from pathlib import Path\nx = Path.home()": "pathlib.Path.home",
    "def f(fees):\n    return sum(fee.paid for fee in fees)": "sum",
    "def f(fees):\n    return sum(fees, 0.0)": "sum",
    "x = hash('a')": "hash",
    "x = sorted([], key=id)": "id",
    "for x in {1, 2}:\n    pass": "{1, 2}",
    "x = list({a for a in 'ab'})": "{a for a in 'ab'}",
    "s = set()\nx = [a for a in s]": "s",
    "def f(s: set[str]) -> str:\n    return ','.join(s)": "s",
    "def f(s: frozenset[str] | None):\n    return tuple(s or ())": "s or ()",
    "A: Final = frozenset({1})\nx = [*A]": "A",
    "a, b = {1}, {2}\nfor x in set(a) | b:\n    pass": "set(a) | b",
    "def f(a: dict, b: dict):\n    return list(a.keys() - b.keys())": "a.keys() - b.keys()",
    "def f(s: set[int]):\n    return s.pop()": "s.pop()",
    "def f(s: set[float]):\n    return sum(s)": "s",
    "def f(s: set[int]):\n    return next(iter(s.union({3})))": "s.union({3})",
    "class A:\n    s: set[int]\n    def f(self):\n        return list(self.s)": "self.s",
    "class A:\n    def __init__(self):\n        self.s = set()\n    def f(self):\n        return [*self.s]": "self.s",
}

ALLOWED = [
    "def f(orders):\n    return sum(1 for o in orders), sum(not o for o in orders)",
    "def f(parts):\n    return sum(len(p) for p in parts) + sum(map(len, parts)) + sum(p > 1 for p in parts)",
    "from decimal import Decimal\ndef f(parts):\n    return sum(parts, Decimal(0))",
    "import time\ndef f(event):\n    return event.time",
    "import random\nx = random.Random(7)",
    "import numpy as np\nx = np.random.default_rng(7)",
    "import numpy as np\ndef f(r: np.random.Generator) -> np.random.Generator:\n    return r",
    "from datetime import UTC, datetime\nd = datetime.fromtimestamp(0, UTC)",
    "import os\nx = os.path.join('a', 'b')",
    "def f(event):\n    return event.hash, event.id",
    "def f(id: str):\n    return id",
    "for x in sorted({1, 2}):\n    pass",
    "s = {1, 2}\nx = 1 in s, len(s), max(s)",
    "s = {1, 2}\nx = any(a > 1 for a in s), sorted(a + 1 for a in s), {a for a in s}",
    "s = {1}\ns.update(a for a in {2})",
    "for x in {'a': 1}:\n    pass",
    "def f(a: dict):\n    return list(a.keys())",
    "def f(x: object):\n    return isinstance(x, set | frozenset)",
    "class A:\n    s: set[int]\nclass B:\n    s: list[int]\n    def f(self):\n        return list(self.s)",
    "def f():\n    s = {1}\ndef g(s):\n    return list(s)",
]


@pytest.mark.parametrize("source", REFUSED, ids=REFUSED.values())
def test_an_ambient_read_is_refused_and_named(source: str) -> None:
    found = check_source(source, "risk/x.py")
    assert REFUSED[source] in [finding.symbol for finding in found]


@pytest.mark.parametrize("source", ALLOWED)
def test_what_depends_on_its_arguments_alone_is_allowed(source: str) -> None:
    assert check_source(source, "risk/x.py") == []


def test_a_finding_says_where_what_and_what_to_do() -> None:
    (finding,) = check_source("import time\n\nnow = time.time_ns()", "risk/x.py")
    assert str(finding) == ("risk/x.py:3:7: ambient time: time.time_ns; take time from the event (`event.ts_ns`)")


def test_a_marker_with_a_reason_allows_its_line() -> None:
    assert check_source("import time\nnow = time.time_ns()  # ambient: shown to the operator only", "x.py") == []


def test_a_marker_without_a_reason_allows_nothing() -> None:
    found = check_source("import time\nnow = time.time_ns()  # ambient:", "x.py")
    assert [finding.kind for finding in found] == ["marker", "time"]


def test_a_marker_that_nothing_needs_is_refused() -> None:
    (finding,) = check_source("now = 1  # ambient: once needed", "x.py")
    assert (finding.kind, finding.line) == ("marker", 1)


def test_the_command_reports_findings_with_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "decider.py").write_text("import os\nx = os.getenv('A')\n")
    assert main([str(tmp_path)]) == 1
    assert "decider.py:2:5: ambient environment: os.getenv" in capsys.readouterr().out


def test_the_command_refuses_what_it_cannot_read_with_status_2(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text(dedent("def (:"))
    assert main([str(broken)]) == 2


def test_the_decision_code_of_this_project_is_clean(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("path", EXEMPT)
def test_every_exemption_is_still_needed(path: str) -> None:
    assert check_source((ROOT / path).read_text(), path), f"{path} reads nothing ambient; remove it from EXEMPT"

"""Decision code reads no ambient state and does no input or output, and the check that says so is right."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from scripts.check_ambient import EXEMPT, IO_ROOMS, ROOT, check_source, main

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
    "x = open('a')": "open",
    "print('a')": "print",
    "x = input()": "input",
    "import io\nx = io.open('a')": "io.open",
    "import sys\nsys.stdout.write('a')": "sys.stdout.write",
    "from pathlib import Path\nx = Path('a').read_text()": "….read_text",
    "def f(path):\n    path.write_text('a')": "….write_text",
    "def f(path):\n    return path.open('rb')": "….open",
    "def f(path):\n    return path.exists()": "….exists",
    "import os\nos.remove('a')": "os.remove",
    "from os import listdir\nx = listdir('a')": "os.listdir",
    "import os\nx = os.path.exists('a')": "os.path.exists",
    "import socket\nx = socket.create_connection(('h', 1))": "socket.create_connection",
    "import subprocess\nsubprocess.run(['a'])": "subprocess.run",
    "import requests\nx = requests.get('a')": "requests.get",
    "from urllib.request import urlopen\nx = urlopen('a')": "urllib.request.urlopen",
    "import asyncio\nx = asyncio.open_connection('h', 1)": "asyncio.open_connection",
    "import shutil\nshutil.rmtree('a')": "shutil.rmtree",
    "from redis.asyncio import Redis\nx = Redis.from_url('a')": "redis.asyncio.Redis.from_url",
    "import gzip\nx = gzip.open('a')": "gzip.open",
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
    "from pathlib import Path\nx = Path('a') / 'b'",
    "def f(orders, order_id):\n    return orders.open(order_id), orders.open",
    "def f(bar):\n    return bar.open",
    "def open(x):\n    return x\ndef f(open):\n    return open(1)",
    "import logging\nlogging.getLogger('a').warning('b')",
    "import asyncio\nasync def f():\n    await asyncio.Event().wait()",
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
    findings = check_source(source, "risk/x.py")
    assert REFUSED[source] in [finding.symbol for finding in findings]


@pytest.mark.parametrize(
    "path", ["risk/x.py", "execution/x.py", "strategies/samples/x.py", "core/market/x.py", "core/x.py"]
)
def test_input_and_output_is_refused_outside_the_rooms_that_are_there_for_it(path: str) -> None:
    assert [finding.kind for finding in check_source("x = open('a')", path)] == ["I/O"]


@pytest.mark.parametrize("room", IO_ROOMS)
def test_a_room_for_input_and_output_is_there_and_is_checked_for_all_else(room: str) -> None:
    path = room if room.endswith(".py") else f"{room}x.py"
    assert (ROOT / room).exists()
    assert [finding.kind for finding in check_source("import time\nx = open('a'), time.time()", path)] == ["time"]


def test_a_marker_with_a_reason_allows_input_and_output_on_its_line() -> None:
    assert check_source("x = open('a')  # ambient: once, by the host", "risk/x.py") == []


@pytest.mark.parametrize("source", ALLOWED)
def test_what_depends_on_its_arguments_alone_is_allowed(source: str) -> None:
    assert check_source(source, "risk/x.py") == []


def test_a_finding_says_where_what_and_what_to_do() -> None:
    (finding,) = check_source("import time\n\nnow = time.time_ns()", "risk/x.py")
    assert str(finding) == ("risk/x.py:3:7: ambient time: time.time_ns; take time from the event (`event.ts_ns`)")


def test_a_marker_with_a_reason_allows_its_line() -> None:
    assert check_source("import time\nnow = time.time_ns()  # ambient: shown to the operator only", "x.py") == []


def test_a_marker_without_a_reason_allows_nothing() -> None:
    findings = check_source("import time\nnow = time.time_ns()  # ambient:", "x.py")
    assert [finding.kind for finding in findings] == ["marker", "time"]


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

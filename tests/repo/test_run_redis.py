"""``make run-redis``: the private server asks for the account of ``redis.url`` and shows no password."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from core.errors import ConfigError
from core.redis_address import RedisAddress
from scripts.run_redis import server_command, write_account
from tests.support.redis_server import spare_port


def test_the_account_stands_in_a_private_file_and_not_on_the_command_line(tmp_path: Path) -> None:
    address = RedisAddress.parse("redis://:Zq%409@127.0.0.1:7777/0")

    write_account(address, tmp_path)

    file = tmp_path / "account.conf"
    command = server_command(address, tmp_path)
    assert str(file) in command
    assert "Zq" not in " ".join(command)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_server_elsewhere_is_refused_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        server_command(RedisAddress.parse("redis://:LongSecret@10.0.0.1:6379/0"), tmp_path)
    assert "redis://***@10.0.0.1:6379/0" in str(refusal.value)
    assert "LongSecret" not in str(refusal.value)


@pytest.mark.parametrize(
    "account", ["redis://:Zq%40'9%20%22%5C@{}", "redis://fleet:Zq%409@{}", "redis://default:pw@{}"]
)
def test_the_server_lets_in_the_account_and_nobody_else(tmp_path: Path, account: str) -> None:
    place = f"127.0.0.1:{spare_port()}/0"
    address = RedisAddress.parse(account.format(place))
    write_account(address, tmp_path)
    until_it_answers = Retry(ConstantBackoff(0.05), 400)

    with subprocess.Popen(server_command(address, tmp_path), stdout=subprocess.DEVNULL) as server:
        try:
            with redis.Redis.from_url(address.url, retry=until_it_answers) as client:
                assert client.ping()
            with redis.Redis.from_url(f"redis://{place}") as stranger, pytest.raises(redis.AuthenticationError):
                stranger.ping()
        finally:
            server.terminate()

"""The private servers that other tests rely on do what they say."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from tests.support.redis_server import RedisServer, ServerError

Start = Callable[..., RedisServer]


def test_a_server_answers_on_its_port_and_on_its_unix_socket(servers: Start) -> None:
    server = servers()
    with redis.Redis.from_url(server.url) as tcp, redis.Redis.from_url(server.unix_url) as unix:
        tcp.set("k", "v")
        assert unix.get("k") == b"v"


def test_two_servers_share_nothing(servers: Start) -> None:
    one, other = servers(), servers()
    assert one.port != other.port
    one.command("SET", "k", "v")
    assert other.command("DBSIZE") == "0"


def test_an_append_only_server_keeps_its_keys_over_a_kill(servers: Start) -> None:
    server = servers(appendonly=True)
    port = server.port
    server.command("SET", "k", "v")
    server.kill()
    assert not server.running
    server.restart()
    assert server.port == port
    assert server.command("DBSIZE") == "1"


def test_a_plain_server_forgets_everything_over_a_kill(servers: Start) -> None:
    server = servers()
    server.command("SET", "k", "v")
    server.kill()
    server.restart()
    assert server.command("DBSIZE") == "0"


def test_a_frozen_server_is_silent_until_it_is_resumed(servers: Start) -> None:
    server = servers()
    with redis.Redis.from_url(server.url, socket_timeout=0.1, retry=None) as client:
        server.stop_now()
        with pytest.raises(redis.exceptions.TimeoutError):
            client.ping()
        server.resume()
    assert server.command("PING") == "PONG"


def test_a_frozen_server_can_be_stopped(servers: Start) -> None:
    server = servers()
    server.stop_now()
    server.stop()
    assert not server.running


def test_starting_twice_and_freezing_what_is_down_are_refused(servers: Start) -> None:
    server = servers()
    with pytest.raises(ServerError, match="already runs"):
        server.start()
    server.stop()
    with pytest.raises(ServerError, match="is down"):
        server.stop_now()


def test_closing_removes_the_directory() -> None:
    with RedisServer() as server:
        directory = server.directory
        assert directory.is_dir()
    assert not directory.exists()


def test_the_shared_server_is_empty_at_the_start_of_each_test(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left over", "by this test")


def test_the_shared_server_is_empty_again(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0

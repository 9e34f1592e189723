"""schema.settings: defaults that serve the embedded run, and one clear line for a wrong value."""

import dataclasses
import ipaddress
import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from schema import settings
from schema.settings import Settings, SettingsError, variable
from schema.settings.shards import SHARDS_MAX, home_of, shards_of

# The names and defaults that the contract fixes.
CONTRACT = {
    "LEADS_HTTP_HOST": "127.0.0.1",
    "LEADS_HTTP_PORT": 8080,
    "LEADS_FLOWER_PORT": 5555,
    "LEADS_REDIS_URL": "",
    "LEADS_DATABASE_URL": "",
    "LEADS_DATABASE_READ_URL": "",
    "LEADS_RATE_LIMIT": 1000,
    "LEADS_WORKER_CONCURRENCY": 2,
    "LEADS_BATCH_SIZE": 1000,
    "LEADS_QUEUE_MAX": 5_000_000,
    "LEADS_JWT_PRIVATE_KEY": None,
    "LEADS_JWT_PUBLIC_KEY": None,
    "LEADS_HTTP_WORKERS": os.cpu_count(),
}

WRONG = [
    ("LEADS_HTTP_PORT", "x"),
    ("LEADS_HTTP_PORT", "0"),
    ("LEADS_HTTP_PORT", "65536"),
    ("LEADS_HTTP_PORT", "80.5"),
    ("LEADS_HTTP_WORKERS", "0"),
    ("LEADS_HTTP_WORKERS", "-1"),
    ("LEADS_HTTP_WORKERS", "many"),
    ("LEADS_HTTP_BODY_TIMEOUT", "0"),
    ("LEADS_HTTP_SHUTDOWN_TIMEOUT", "0"),
    ("LEADS_FLOWER_PORT", "70000"),
    ("LEADS_REDIS_URL", "http://localhost"),
    ("LEADS_REDIS_URL", "localhost:6379"),
    ("LEADS_REDIS_URL", "redis+sentinel://localhost"),
    ("LEADS_REDIS_URL", "redis+cluster://localhost/0"),
    ("LEADS_QUEUE_SHARDS", "0"),
    ("LEADS_QUEUE_SHARDS", "65"),
    ("LEADS_QUEUE_NEXT_URL", "http://localhost"),
    ("LEADS_QUEUE_NEXT_SHARDS", "-1"),
    ("LEADS_QUEUE_NEXT_SHARDS", "65"),
    ("LEADS_BROKER_URL", "http://u:secret@localhost"),
    ("LEADS_BROKER_URL", "redis+sentinel://localhost"),
    ("LEADS_BROKER_URL", "redis+cluster://u:secret@localhost"),
    ("LEADS_REDIS_TIMEOUT", "nan"),
    ("LEADS_REDIS_TIMEOUT", "inf"),
    ("LEADS_REDIS_TIMEOUT", "0"),
    ("LEADS_REDIS_TIMEOUT", "1s"),
    ("LEADS_REDIS_REPLICAS", "9"),
    ("LEADS_REDIS_REPLICAS", "-1"),
    ("LEADS_REDIS_REPLICAS_IN", "disc"),
    ("LEADS_DATABASE_URL", "postgresql://localhost/leads"),
    ("LEADS_DATABASE_URL", "mysql://u:secret@localhost/leads"),
    ("LEADS_DATABASE_URL", "secret"),
    ("LEADS_DATABASE_URL", "mysql+pymysql://u:secret@localhost:port/leads"),
    ("LEADS_DATABASE_READ_URL", "secret"),
    ("LEADS_DATABASE_REPLICAS", "2"),
    ("LEADS_DATABASE_REPLICAS", "1"),
    ("LEADS_DATABASE_POOL_SIZE", "0"),
    ("LEADS_DATABASE_TIMEOUT", "0"),
    ("LEADS_RATE_LIMIT", "-1"),
    ("LEADS_RATE_LIMIT", "1e3"),
    ("LEADS_RATE_LIMIT_WINDOW", "0"),
    ("LEADS_RATE_LIMIT_EXEMPT", "10.0.0.0/8,nonsense"),
    ("LEADS_TRUSTED_PROXIES", "300.0.0.1"),
    ("LEADS_TRUSTED_PROXIES", "10.0.0.0/33"),
    ("LEADS_WORKER_CONCURRENCY", "0"),
    ("LEADS_BATCH_SIZE", "0"),
    ("LEADS_BATCH_SIZE", "10001"),
    ("LEADS_QUEUE_MAX", "0"),
    ("LEADS_CLAIM_AFTER", "0"),
    ("LEADS_SWEEP_INTERVAL", "soon"),
    ("LEADS_DELIVERIES_ALONE", "0"),
    ("LEADS_DELIVERIES_ALONE", "20"),
    ("LEADS_DELIVERIES_MAX", "10"),
    ("LEADS_IDEMPOTENCY_TTL", "0"),
    ("LEADS_TOKEN_TTL", "0"),
    ("LEADS_LOGIN_FAILURES", "0"),
    ("LEADS_ACCESS_LOG", "some"),
    ("LEADS_LOG_LEVEL", "info"),
    ("LEADS_JWT_PRIVATE_KEY", "alone.pem"),
    ("LEADS_JWT_PUBLIC_KEY", "alone.pem"),
]


def test_the_defaults_are_those_of_the_contract():
    loaded = settings.load()

    for name, default in CONTRACT.items():
        assert getattr(loaded, name.removeprefix("LEADS_").lower()) == default
    assert loaded.data_dir == Path("var").resolve()


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_one_line_that_names_the_variable(name: str, value: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError) as caught:
        settings.load()

    message = str(caught.value)
    assert name in message
    assert "\n" not in message
    assert "secret" not in message


def test_an_empty_variable_counts_as_absent(monkeypatch: pytest.MonkeyPatch):
    before = settings.load()
    for spec in dataclasses.fields(Settings):
        monkeypatch.setenv(variable(spec.name), "")

    assert settings.load() == before


def test_a_value_is_read_from_the_file_that_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "url").write_text("redis://api:secret@redis:6379/0\n")
    (tmp_path / "port").write_text("9000\n")
    monkeypatch.setenv("LEADS_REDIS_URL_FILE", str(tmp_path / "url"))
    monkeypatch.setenv("LEADS_HTTP_PORT", "8000")
    monkeypatch.setenv("LEADS_HTTP_PORT_FILE", str(tmp_path / "port"))

    loaded = settings.load()

    assert (loaded.redis_url, loaded.http_port) == ("redis://api:secret@redis:6379/0", 9000)


@pytest.mark.parametrize("content", ["http://u:secret@localhost", None])
def test_a_wrong_file_is_one_line_that_names_the_variable(
    content: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    if content is not None:
        (tmp_path / "url").write_text(content)
    monkeypatch.setenv("LEADS_REDIS_URL_FILE", str(tmp_path / "url"))

    with pytest.raises(SettingsError) as caught:
        settings.load()

    message = str(caught.value)
    assert "LEADS_REDIS_URL" in message
    assert "\n" not in message
    assert "secret" not in message


def test_each_kind_of_value_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    values = {
        "LEADS_HTTP_PORT": "9000",
        "LEADS_CLAIM_AFTER": "2.5",
        "LEADS_REDIS_URL": "rediss://example.com:6380/1",
        "LEADS_DATABASE_URL": "mysql+pymysql://u:p%40ss@example.com:3306/leads",
        "LEADS_DATA_DIR": str(tmp_path / "a" / ".." / "b"),
        "LEADS_TRUSTED_PROXIES": "10.0.0.1, 192.0.2.0/24,2001:db8::/32",
        "LEADS_JWT_PRIVATE_KEY": "private.pem",
        "LEADS_JWT_PUBLIC_KEY": "public.pem",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)

    loaded = settings.load()

    assert (loaded.http_port, loaded.claim_after) == (9000, 2.5)
    assert loaded.queue_url == loaded.celery_broker_url == "rediss://example.com:6380/1"
    assert loaded.tickets_url == loaded.queue_url
    assert loaded.primary_url == loaded.replica_url == "mysql+pymysql://u:p%40ss@example.com:3306/leads"
    assert loaded.data_dir == tmp_path / "b"
    networks = ["10.0.0.1/32", "192.0.2.0/24", "2001:db8::/32"]
    assert loaded.trusted_proxies == tuple(ipaddress.ip_network(each) for each in networks)
    assert (loaded.private_key_path, loaded.public_key_path) == (Path("private.pem"), Path("public.pem"))


def test_the_embedded_run_keeps_everything_under_the_data_dir(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LEADS_DATA_DIR", "data")

    loaded = settings.load()

    assert loaded.embedded_redis
    assert loaded.queue_url == f"unix://{loaded.data_dir}/redis/redis.sock"
    assert loaded.celery_broker_url == f"redis+socket://{loaded.data_dir}/redis/redis.sock"
    assert loaded.primary_url == f"sqlite:///{loaded.data_dir}/leads.db"
    assert loaded.private_key_path.parent == loaded.public_key_path.parent == loaded.data_dir / "keys"


@pytest.mark.parametrize("name", ["LEADS_REDIS_URL", "LEADS_QUEUE_NEXT_URL"])
def test_a_cluster_needs_a_broker_of_its_own(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(name, "redis+cluster://u:secret@one,two")
    with pytest.raises(SettingsError, match="LEADS_BROKER_URL") as caught:
        settings.load()
    assert "secret" not in str(caught.value)

    monkeypatch.setenv("LEADS_BROKER_URL", "redis://three:6379/0")

    loaded = settings.load()
    assert loaded.tickets_url != loaded.queue_url
    assert loaded.celery_broker_url == "redis://three:6379/0"


def test_a_move_to_the_queue_that_is_there_stops_the_start(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LEADS_QUEUE_SHARDS", "4")
    monkeypatch.setenv("LEADS_QUEUE_NEXT_SHARDS", "4")
    with pytest.raises(SettingsError, match="LEADS_QUEUE_NEXT_SHARDS"):
        settings.load()

    # The same number elsewhere is another queue.
    monkeypatch.setenv("LEADS_QUEUE_NEXT_URL", "redis://elsewhere")
    assert len(settings.load().all_shards) == 8


def test_one_shard_that_is_no_cluster_has_the_keys_that_it_always_had():
    (shard,) = Settings(redis_url="redis://one").shards

    assert shard.name("leads:stream") == "leads:stream"


def test_the_keys_of_a_shard_share_its_hash_tag():
    shards = [
        *Settings(redis_url="redis+cluster://one").shards,
        *Settings(redis_url="redis://one", queue_shards=3).shards,
    ]

    for shard in shards:
        assert shard.name("leads:stream") == f"leads:{{{shard.tag}}}:stream"
        assert key_slot(shard.name("leads:stream").encode()) == key_slot(shard.name("leads:index").encode())
        assert key_slot(shard.name("leads:stream").encode()) == shard.slot


def test_all_shards_are_those_of_now_and_then_those_of_the_next_queue():
    moving = Settings(redis_url="redis://one", queue_next_url="redis+cluster://two", queue_next_shards=2)

    assert [(each.url, each.number) for each in moving.all_shards] == [
        ("redis://one", 0),
        ("redis+cluster://two", 0),
        ("redis+cluster://two", 1),
    ]
    assert Settings(redis_url="redis://one").next_shards == ()


@pytest.mark.parametrize("shards", range(1, SHARDS_MAX + 1))
def test_the_shards_are_even_over_the_slots_of_a_cluster(shards: int):
    found = shards_of("redis+cluster://one", shards, is_cluster=True)

    assert len({each.tag for each in found}) == shards
    part = REDIS_CLUSTER_HASH_SLOTS // shards
    assert [each.slot // part for each in found] == list(range(shards))
    # Primaries of which each has a part of the slots have as many shards each, where that can be.
    for primaries in range(1, shards + 1):
        if shards % primaries == 0:
            owned = Counter(each.slot * primaries // REDIS_CLUSTER_HASH_SLOTS for each in found)
            assert owned == dict.fromkeys(range(primaries), shards // primaries)


def test_a_key_has_one_home_and_many_keys_have_all():
    names = [f"leads:idempotency:{number}" for number in range(6400)]

    homes = Counter(home_of(each, 64) for each in names)
    assert homes == Counter(home_of(each, 64) for each in names)
    assert homes.keys() == set(range(64))
    assert max(homes.values()) < 2 * 6400 / 64


def test_a_data_dir_with_a_long_name_has_its_socket_elsewhere(tmp_path: Path):
    long, other = (Settings(data_dir=tmp_path / (letter * 120)) for letter in "ab")

    assert len(os.fsencode(long.redis_socket)) <= settings.SOCKET_PATH_MAX
    # In a directory of its own, which nobody else may enter: compose.preflight makes it.
    assert long.redis_socket.parent.parent == Path(tempfile.gettempdir())
    assert long.redis_socket != other.redis_socket
    assert long.redis_socket == Settings(data_dir=long.data_dir).redis_socket


@pytest.mark.parametrize("password", ["password123", "admin", "", "a-short-one"])
def test_flower_is_not_for_others_on_a_weak_password(password: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LEADS_FLOWER_PASSWORD", password)
    assert settings.load().flower_host == "127.0.0.1"
    monkeypatch.setenv("LEADS_FLOWER_HOST", "0.0.0.0")

    with pytest.raises(SettingsError, match="LEADS_FLOWER_PASSWORD"):
        settings.load()


def test_flower_is_for_others_on_a_strong_password(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LEADS_FLOWER_PASSWORD", "correct horse battery staple")
    monkeypatch.setenv("LEADS_FLOWER_HOST", "0.0.0.0")

    assert settings.load().flower_host == "0.0.0.0"


def test_a_replica_may_be_set_apart():
    apart = Settings(database_url="sqlite:///a", database_read_url="sqlite:///b")

    assert (apart.primary_url, apart.replica_url) == ("sqlite:///a", "sqlite:///b")


@pytest.mark.parametrize("spec", dataclasses.fields(Settings), ids=lambda spec: spec.name)
def test_each_setting_says_what_it_means(spec: dataclasses.Field):
    assert spec.metadata["doc"].endswith(".")
    assert spec.metadata["unit"] or spec.metadata["kind"] not in ("int", "float")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_loopback_is_its_addresses_and_localhost(host: str):
    assert settings.is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        *("localhost.example.org", "127.evil", "127.0.0.1.example.org", "::1234", "localhost2", ""),
        *("0.0.0.0", "::", "10.0.0.1", "192.0.2.1", "127", "127.1"),
    ],
)
def test_what_merely_begins_like_loopback_is_not(host: str):
    assert not settings.is_loopback(host)


def test_queues_with_other_numbers_of_shards_share_no_key():
    tags = [each.tag for number in range(1, SHARDS_MAX + 1) for each in shards_of("", number, is_cluster=True)]

    assert len(set(tags)) == len(tags)
    # As long as a dead letter's name may have it.
    assert max(map(len, tags)) <= 5

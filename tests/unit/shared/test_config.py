"""Settings: every mistake is reported at once, in words that an operator can act on."""

import dataclasses
from dataclasses import dataclass

import pytest

from deploy.docs import CONTEXTS, config_class
from shared.config import (
    ConfigError,
    ServerConfig,
    StoreConfig,
    at_least,
    between,
    describe,
    env_field,
    load,
    one_of,
    target,
    url,
)

STORES = {"AWS_REGION": "eu-central-1", "BRAIN2_EVENT_BUS": "brain2", "REDIS_URL": "redis://:hunter2@localhost:6379"}


@dataclass(frozen=True, kw_only=True)
class ExampleConfig(ServerConfig, StoreConfig):
    listen: str = env_field("127.0.0.1:50059", env="BRAIN2_LISTEN", why="where the example listens", check=target)
    queue_url: str = env_field(
        env="BRAIN2_QUEUE_URL", why="the events that the example hears", check=url("http", "https")
    )
    tags: tuple[str, ...] = env_field((), env="TAGS", why="words", parse=lambda text: tuple(text.split(",")))


def test_defaults_and_what_the_environment_says() -> None:
    config = load(
        ExampleConfig,
        {
            **STORES,
            "BRAIN2_QUEUE_URL": " http://localhost:4566/q ",
            "BRAIN2_TRACE_RATIO": "0.5",
            "BRAIN2_REDIS_CLUSTER": "1",
            "BRAIN2_LOG_LEVEL": "debug",
            "TAGS": "a,b",
            "DYNAMODB_ENDPOINT": "",
        },
    )
    assert config.listen == "127.0.0.1:50059"
    assert config.queue_url == "http://localhost:4566/q"
    assert (config.trace_ratio, config.redis_cluster, config.log_level) == (0.5, True, "DEBUG")
    assert config.tags == ("a", "b")
    assert config.dynamodb_endpoint == ""
    assert config.max_message_bytes == 4 * 1024 * 1024


def test_every_bad_variable_is_named_with_its_why() -> None:
    env = {
        "AWS_REGION": "",
        "REDIS_URL": "http://:hunter2@localhost",
        "BRAIN2_TRACE_RATIO": "1.5",
        "BRAIN2_MAX_CONCURRENT_RPCS": "many",
        "BRAIN2_REUSE_PORT": "maybe",
        "BRAIN2_LISTEN": "50051",
        "BRAIN2_LOG_LEVEL": "chatty",
        "BRAIN2_DRAIN_SECONDS": "nan",
    }
    with pytest.raises(ConfigError) as caught:
        load(ExampleConfig, env)
    problems = {problem.partition(":")[0].partition(" ")[0]: problem for problem in caught.value.problems}
    assert set(problems) == {*env, "BRAIN2_EVENT_BUS", "BRAIN2_QUEUE_URL"}
    assert problems["BRAIN2_QUEUE_URL"] == "BRAIN2_QUEUE_URL is required: the events that the example hears"
    assert problems["BRAIN2_TRACE_RATIO"].startswith(
        "BRAIN2_TRACE_RATIO: '1.5' is not allowed, it must be between 0 and 1"
    )
    assert "whole number" in problems["BRAIN2_MAX_CONCURRENT_RPCS"]
    assert "DEBUG, INFO" in problems["BRAIN2_LOG_LEVEL"]
    assert str(caught.value).count("\n") == len(problems) - 1


def test_secrets_are_never_shown() -> None:
    config = load(ExampleConfig, {**STORES, "BRAIN2_QUEUE_URL": "http://q"})
    assert "hunter2" in config.redis_url
    assert "hunter2" not in repr(config)
    with pytest.raises(ConfigError) as caught:
        load(ExampleConfig, {**STORES, "REDIS_URL": "postgres://:hunter2@localhost"})
    assert "REDIS_URL" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_settings_do_not_change() -> None:
    config = ServerConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.listen = "elsewhere"  # type: ignore[misc]


def test_the_table_of_variables_is_complete() -> None:
    table = describe(ExampleConfig)
    for variable in (*STORES, "BRAIN2_QUEUE_URL", "BRAIN2_LISTEN", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        assert f"| {variable} |" in table
    assert "| BRAIN2_QUEUE_URL | (required) | the events that the example hears |" in table
    assert "hunter2" not in table


@pytest.mark.parametrize(
    "value", ["127.0.0.1:50051", "0.0.0.0:0", "[::1]:50051", "node:50051", "unix:/run/b.sock", "dns:///graph.svc:50052"]
)
def test_targets(value: str) -> None:
    assert target(value) is None


@pytest.mark.parametrize("value", ["50051", "localhost", "host:port", "host:70000", "::1:50051", "http://x:1", "a b:1"])
def test_no_targets(value: str) -> None:
    assert target(value) is not None


@pytest.mark.parametrize("value", ["http://host", "https://host:1/x", "http://[::1]:4566"])
def test_addresses(value: str) -> None:
    assert url("http", "https")(value) is None


@pytest.mark.parametrize(
    "value", ["host:80", "ftp://host", "http://", "http://host:99999", "http://host:0", "http://[::1"]
)
def test_no_addresses(value: str) -> None:
    assert url("http", "https")(value) == "an address like http://host:port or https://host:port"


def test_bounds() -> None:
    assert between(0, 1)(0) is between(0, 1)(1) is None
    assert between(0, 1)(float("nan")) == between(0, 1)(-0.1) == "between 0 and 1"
    assert at_least(1)(1) is None
    assert at_least(1)(0) == at_least(1)(float("inf")) == "at least 1"
    assert one_of("a", "b")("b") is None
    assert one_of("a", "b")("c") == "one of a, b"


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_service_does_not_take_the_name_of_a_field_that_all_have(context: str) -> None:
    """It would replace the common field, and the code that all services share would read the service's own."""
    common = {field.name for base in (ServerConfig, StoreConfig) for field in dataclasses.fields(base)}
    assert common & set(config_class(context).__annotations__) == set()

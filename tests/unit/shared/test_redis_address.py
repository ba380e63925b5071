"""Redis URLs: where, who, which database, how sure of the certificate."""

import ssl

import pytest

from shared.redis.address import parse


@pytest.mark.parametrize(
    ("url", "host", "port", "database", "user", "password"),
    [
        ("redis://localhost", "localhost", 6379, 0, "", ""),
        ("redis://127.0.0.1:7000/3", "127.0.0.1", 7000, 3, "", ""),
        ("redis://:s3cr%40t@h:1/", "h", 1, 0, "", "s3cr@t"),
        ("redis://anna:pw@h:1?db=5", "h", 1, 5, "anna", "pw"),
        ("redis://[::1]:7/0", "::1", 7, 0, "", ""),
    ],
)
def test_what_a_url_says(url: str, host: str, port: int, database: int, user: str, password: str) -> None:
    address = parse(url)
    assert (address.host, address.port, address.database) == (host, port, database)
    assert (address.username, address.password, address.tls) == (user, password, None)


def test_the_greeting_enters_and_chooses_the_database() -> None:
    assert parse("redis://anna:pw@h/2").greeting("me") == [
        ("AUTH", "anna", "pw"),
        ("SELECT", "2"),
        ("CLIENT", "SETNAME", "me"),
    ]
    assert parse("redis://:pw@h").greeting("me") == [("AUTH", "pw"), ("CLIENT", "SETNAME", "me")]


def test_tls_verifies_unless_told_otherwise() -> None:
    sure = parse("rediss://h").tls
    assert sure is not None
    assert (sure.verify_mode, sure.check_hostname) == (ssl.CERT_REQUIRED, True)
    unsure = parse("rediss://h?ssl_cert_reqs=none").tls
    assert unsure is not None
    assert (unsure.verify_mode, unsure.check_hostname) == (ssl.CERT_NONE, False)
    any_name = parse("rediss://h?ssl_check_hostname=false").tls
    assert any_name is not None
    assert (any_name.verify_mode, any_name.check_hostname) == (ssl.CERT_REQUIRED, False)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://h", "redis://"),
        ("unix:///run/redis.sock", "redis://"),
        ("redis://h/two", "number"),
        ("rediss://h?ssl_cert_reqs=maybe", "none or required"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as error:
        parse(url.replace("://", "://:hidden@"))
    assert "hidden" not in str(error.value)

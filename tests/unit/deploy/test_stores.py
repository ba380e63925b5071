"""Ports and credentials of the embedded stores."""

import json
import os
import socket
from pathlib import Path

import pytest

from deploy.local import processes, stores


def test_ports_are_those_of_the_last_start_when_they_are_free(tmp_path: Path) -> None:
    before = stores._ports(tmp_path)
    assert stores._ports(tmp_path) == before
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", before["valkey"]))
        after = stores._ports(tmp_path)
    assert after["ministack"] == before["ministack"]
    assert after["valkey"] != before["valkey"]


@pytest.mark.parametrize(
    "kept", ["", "[]", "7", "null", '{"valkey": 1}', '{"dynoxide": "x", "ministack": 99999, "valkey": 0}']
)
def test_remembered_ports_that_make_no_sense_are_chosen_anew(tmp_path: Path, kept: str) -> None:
    (tmp_path / "ports.json").write_text(kept)
    found = stores._ports(tmp_path)
    assert found.keys() == {"dynoxide", "ministack", "valkey"}
    assert len(set(found.values())) == 3
    assert all(port in range(1024, 65_536) for port in found.values())
    assert stores._ports(tmp_path) == found


def test_remembered_ports_of_others_or_of_each_other_are_chosen_anew(tmp_path: Path) -> None:
    before = stores._ports(tmp_path)
    after = stores._ports(tmp_path, avoid=[before["dynoxide"]])
    assert after["dynoxide"] != before["dynoxide"]
    assert after["valkey"] == before["valkey"]
    (tmp_path / "ports.json").write_text(json.dumps(dict.fromkeys(before, before["valkey"])))
    assert len(set(stores._ports(tmp_path).values())) == 3


def test_free_ports_are_different_and_none_is_given_twice() -> None:
    ports = [port for _ in range(100) for port in processes.free_ports(2)]
    assert len(set(ports)) == len(ports)
    assert max(ports) < 32_000, "a higher one may become the near end of somebody's connection before it is used"


def test_a_port_that_is_taken_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(processes, "_PORTS", [port, port, *processes.free_ports(1)])
        monkeypatch.setattr(processes, "_given", set())
        assert processes.free_ports(1) != [port]


def test_embedded_stores_get_test_credentials_whatever_the_shell_has() -> None:
    shell = {"AWS_ACCESS_KEY_ID": "real", "AWS_SECRET_ACCESS_KEY": "real", "AWS_REGION": "eu-west-1"}
    assert stores.credentials(shell) == {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
    }


def test_a_store_of_ones_own_gets_ones_own_credentials() -> None:
    shell = {"AWS_PROFILE": "me", "AWS_REGION": "eu-west-1", "DYNAMODB_ENDPOINT": "https://dynamodb.eu-west-1"}
    assert stores.credentials(shell) == {"AWS_PROFILE": "me", "AWS_REGION": "eu-west-1"}

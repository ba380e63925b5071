"""The launcher's options: each wrong one is refused in one sentence that says what is allowed."""

import os
import shlex
import sys
from pathlib import Path

import pytest

from deploy.local.__main__ import _options, _parser, _set_apart, main
from deploy.local.console import LaunchError
from deploy.local.stack import Options


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """main() changes the environment of its process."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


def options(*argv: str) -> Options:
    return _options(_parser().parse_args(["up", *argv]))


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The sentence on standard error, which is all that is printed."""
    with pytest.raises(SystemExit) as ended:
        main(["up", *argv])
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (sentence,) = printed.err.splitlines()
    return sentence


@pytest.mark.skipif(sys.platform != "linux", reason="several processes on one port need Linux")
def test_the_number_of_processes_is_the_options_or_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BRAIN2_WORKERS", raising=False)
    assert options().workers == 1
    monkeypatch.setenv("BRAIN2_WORKERS", "")
    assert options().workers == 1
    monkeypatch.setenv("BRAIN2_WORKERS", "3")
    assert options().workers == 3
    assert options("--processes", "2").workers == 2


def test_work_in_the_background_stands_back_unless_told_otherwise() -> None:
    assert options().niceness == 10
    assert options("--niceness", "0").niceness == 0


@pytest.mark.parametrize(
    ("option", "wrong", "allowed"),
    [
        ("--processes", ("0", "-1", "65", "many", "1.5", ""), "a whole number from 1 to 64"),
        ("--niceness", ("-1", "20", "high"), "a whole number from 0 to 19"),
        # The console's port is 29 above node's.
        ("--port-base", ("0", "-1", "80", "65507", "70000", "http"), "a whole number from 1024 to 65506"),
        ("--trace-ratio", ("-0.1", "1.1", "nan", "some"), "a number from 0 to 1"),
        ("--save-seconds", ("0", "-1", "nan", "inf", "3601", "often"), "a number from 0.1 to 3600"),
    ],
)
def test_a_value_out_of_range_is_named_with_what_is_allowed(
    option: str, wrong: tuple[str, ...], allowed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for value in wrong:
        assert refused(capsys, f"{option}={value}").startswith(f"brain2: {option}: must be {allowed}, not {value!r}")


def test_the_ends_of_each_range_are_allowed() -> None:
    assert options("--port-base", "1024").port_base == 1024
    assert options("--port-base", "65506", "--niceness", "19").niceness == 19
    assert options("--trace-ratio", "0", "--save-seconds", "0.1").trace_ratio == 0


def test_a_wrong_number_of_processes_in_the_environment_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("0", "-1", "two"):
        monkeypatch.setenv("BRAIN2_WORKERS", wrong)
        with pytest.raises(LaunchError, match=f"^BRAIN2_WORKERS: must be a whole number from 1 to 64, not '{wrong}'$"):
            options()
        assert options("--processes", "1").workers == 1


def test_options_that_exclude_each_other_or_do_not_exist_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--port-base" in refused(capsys, "--free-ports", "--port-base", "40000")
    assert "--colour" in refused(capsys, "--colour")
    assert "--log-level" in refused(capsys, "--log-level", "LOUD")


def test_several_processes_need_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(LaunchError, match="need Linux"):
        options("--processes", "2")
    assert options("--processes", "1").workers == 1


def test_a_folder_that_is_a_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    for wrong in (file, file / "below"):
        assert main(["up", "--free-ports", "--data", str(wrong)]) == 1
        assert capsys.readouterr().err.startswith(f"brain2: {wrong} can't be used as the folder of the data: ")


def test_proxies_and_settings_of_aws_are_not_for_what_runs_on_this_machine() -> None:
    shell = {"http_proxy": "http://proxy:3128", "NO_PROXY": "internal", "AWS_PROFILE": "work", "AWS_MAX_ATTEMPTS": "x"}
    _set_apart(shell)
    assert shell["no_proxy"] == "internal,127.0.0.1,localhost"
    assert {name for name in shell if name.startswith("AWS_")} == {"AWS_CONFIG_FILE"}
    assert shell["AWS_CONFIG_FILE"] == os.devnull
    own = {"AWS_PROFILE": "work", "DYNAMODB_ENDPOINT": "https://dynamodb.eu-west-1.amazonaws.com"}
    _set_apart(own)
    assert own["AWS_PROFILE"] == "work"
    assert "AWS_CONFIG_FILE" not in own


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("import notes.jsonl --user ada --in-flight=0", "--in-flight: must be a whole number from 1 to 32, not '0'"),
        ("import notes.jsonl --user ada --patience=nan", "--patience: must be a number from 0 to 1000000, not 'nan'"),
        (
            "import notes.jsonl --user ada --wait-seconds=-1",
            "--wait-seconds: must be a number from 0 to 1000000, not '-1'",
        ),
        # As make has it where FROM or TO is not given.
        ("import --user ada ''", "source: must not be empty"),
        ("export --user ada --to ''", "--to: must not be empty"),
        ("demo --colour", "unrecognized arguments: --colour"),
    ],
)
def test_the_other_commands_refuse_in_one_sentence_too(
    command: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(command))
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"brain2: {sentence}\n"


def test_a_tour_on_a_folder_that_is_a_file_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    assert main(["demo", "--data", str(file)]) == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith("brain2: ")
    assert str(file) in sentence

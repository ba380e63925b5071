"""What every command-line tool prints when its token or TLS files are missing or wrong: one sentence, no traceback."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from deploy.local import demo, export, importer
from services.cleanup_service.adapters import command, export_command
from services.node_service.adapters import replay_command
from tests.support.tokens import Authority

NOWHERE = "127.0.0.1:9"
Tool = Callable[[Sequence[str]], int]
TOOLS: dict[str, tuple[Tool, Callable[[Path], list[str]]]] = {
    "import": (importer.main, lambda folder: [str(folder / "notes.jsonl"), "--user", "ada", "--target", NOWHERE]),
    "export": (export.main, lambda folder: ["--user", "ada", "--to", str(folder / "out"), "--target", NOWHERE]),
    "demo": (demo.main, lambda folder: ["--data", str(folder / "data")]),
    "replay": (replay_command.main, lambda _: ["--user", "ada", "--target", NOWHERE]),
    "reconcile": (command.main, lambda _: ["--user", "ada", "--target", NOWHERE]),
    "export of the service": (export_command.main, lambda _: ["--user", "ada", "--target", NOWHERE]),
}
# Variables -> what the sentence names. FOLDER stands for the folder of the test.
WRONG: dict[str, tuple[dict[str, str], str]] = {
    "no token file": ({"BRAIN2_TOKEN_FILE": "FOLDER/none"}, "FOLDER/none can't be read: No such file"),
    "a folder as token file": ({"BRAIN2_TOKEN_FILE": "FOLDER"}, "FOLDER can't be read: Is a directory"),
    "an empty token file": ({"BRAIN2_TOKEN_FILE": "FOLDER/empty"}, "FOLDER/empty is empty"),
    "bytes that are no token": ({"BRAIN2_TOKEN_FILE": "FOLDER/bytes"}, "FOLDER/bytes does not hold a token"),
    "two tokens in a file": ({"BRAIN2_TOKEN_FILE": "FOLDER/two"}, "FOLDER/two: a token has"),
    "a token with an umlaut": ({"BRAIN2_TOKEN": "schlüssel"}, "BRAIN2_TOKEN: a token has"),
    "a huge token": ({"BRAIN2_TOKEN": "x" * 9_000}, "BRAIN2_TOKEN: a token has"),
    "no authorities": ({"BRAIN2_TLS_CA": "FOLDER/none.pem"}, "FOLDER/none.pem"),
    "authorities that are no PEM": ({"BRAIN2_TLS_CA": "FOLDER/bytes"}, "FOLDER/bytes"),
    "a certificate without a key": (
        {"BRAIN2_TLS_CA": "FOLDER/ca.pem", "BRAIN2_TLS_CERT": "FOLDER/one.crt"},
        "BRAIN2_TLS_KEY",
    ),
    "the key of another certificate": (
        {"BRAIN2_TLS_CA": "FOLDER/ca.pem", "BRAIN2_TLS_CERT": "FOLDER/one.crt", "BRAIN2_TLS_KEY": "FOLDER/two.key"},
        "FOLDER/two.key",
    ),
    "an unreadable key": (
        {"BRAIN2_TLS_CA": "FOLDER/ca.pem", "BRAIN2_TLS_CERT": "FOLDER/one.crt", "BRAIN2_TLS_KEY": "FOLDER/empty"},
        "FOLDER/empty",
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("files")
    (made / "empty").write_text(" \n")
    (made / "bytes").write_bytes(bytes(range(256)))
    (made / "two").write_text("one\ntwo\n")
    (made / "notes.jsonl").write_text('{"id": "a", "title": "A"}\n')
    authority = Authority(made)
    authority.issue("one")
    authority.issue("two")
    return made


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("tool", TOOLS)
def test_a_wrong_token_or_certificate_is_one_sentence(
    tool: str, wrong: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    main, arguments = TOOLS[tool]
    variables, named = WRONG[wrong]
    for name in ("BRAIN2_TOKEN", "BRAIN2_TOKEN_FILE", "BRAIN2_TLS_CA", "BRAIN2_TLS_CERT", "BRAIN2_TLS_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.replace("FOLDER", str(folder)))
    assert main(arguments(folder)) in (1, 2)
    output, errors = capfd.readouterr()
    assert output == ""
    assert len(errors.splitlines()) == 1, errors
    assert errors.startswith("brain2: ")
    assert named.replace("FOLDER", str(folder)) in errors

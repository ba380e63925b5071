"""What the launcher's command line says, as options."""

import pytest

from deploy.local.__main__ import _options, _parser


def test_the_processes_of_a_service_come_from_the_command_line_or_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("BRAIN2_WORKERS", raising=False)
    assert _options(_parser().parse_args(["up"])).workers == 1
    monkeypatch.setenv("BRAIN2_WORKERS", "3")
    assert _options(_parser().parse_args(["up"])).workers == 3
    assert _options(_parser().parse_args(["up", "--processes", "2"])).workers == 2


def test_niceness_is_10_unless_another_one_is_wanted() -> None:
    assert _options(_parser().parse_args(["up"])).niceness == 10
    assert _options(_parser().parse_args(["up", "--niceness", "0"])).niceness == 0


@pytest.mark.parametrize("wrong", ["0", "65", "two"])
def test_a_wrong_number_of_processes_is_refused(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _parser().parse_args(["up", "--processes", wrong])
    assert "--processes" in capsys.readouterr().err

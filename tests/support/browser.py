"""A real browser that drives the graph view: Chromium by playwright-core (clients/console/view/drive.mjs)."""

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

VIEW = Path(__file__).resolve().parents[2] / "clients" / "console" / "view"
DIST = VIEW / "dist"
CHROMIUM = os.environ.get("BRAIN2_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
MISSING = next(
    (
        why
        for why, here in (
            ("the graph view is not built (make view)", DIST.is_dir() and (VIEW / "node_modules").is_dir()),
            ("there is no Chromium (apt-get install chromium, or BRAIN2_CHROMIUM)", CHROMIUM),
        )
        if not here
    ),
    "",
)
"""Why no browser can be driven here; "" when one can."""


async def start(url: str, action: str, argument: str = "") -> asyncio.subprocess.Process:
    """The driver as a process: its answer is one JSON object on stdout."""
    return await asyncio.create_subprocess_exec(
        "node",
        str(VIEW / "drive.mjs"),
        url,
        action,
        argument,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "BRAIN2_CHROMIUM": CHROMIUM or ""},
    )


async def drive(url: str, action: str, argument: str = "", *, seconds: float = 110) -> dict[str, Any]:
    """What the driver found. RuntimeError with the driver's words when the page did not do as it should."""
    process = await start(url, action, argument)
    try:
        async with asyncio.timeout(seconds):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise RuntimeError(err.decode()[-2000:])
    found: dict[str, Any] = json.loads(out)
    return found

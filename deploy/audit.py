"""`make audit`: looks the locked dependencies up in the databases of known vulnerabilities, those of Python and of npm.

A lock is clean only when every package in it was looked up. Without a network, or with a registry that has no
advisories, the locks that were not looked up are counted, and the exit code is 1 as for a vulnerability.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
_NPM = ("deploy/local/dynoxide/package-lock.json", "clients/console/view/package-lock.json")
_SECONDS = 600.0
# What the two tools print when they found something. When they fail otherwise, they could not look.
_FOUND = ("Found ", "Severity: ")


class NotLookedUpError(Exception):
    """A lock was not looked up; the text is the reason."""


def commands() -> dict[str, list[str]]:
    """The command that looks up a lock, by the path of the lock; it is run in the folder of the lock."""
    pip = [os.environ.get("PIP_AUDIT") or "pip-audit", "--strict", "--require-hashes", "--disable-pip"]
    locks = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("requirements/*.txt"))
    found = {lock: [*pip, "--progress-spinner", "off", "-r", Path(lock).name] for lock in locks}
    return found | {lock: ["npm", "audit", "--package-lock-only"] for lock in _NPM}


def vulnerabilities(command: Sequence[str], folder: Path) -> str:
    """What the tool prints about known vulnerabilities; "" when there are none. NotLookedUpError."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except FileNotFoundError:
        raise NotLookedUpError(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise NotLookedUpError(f"{command[0]} took more than {_SECONDS:g} s") from None
    text = done.stdout + done.stderr
    if done.returncode == 0:
        return ""
    if any(line.startswith(_FOUND) for line in text.splitlines()):
        return text
    lines = [line.strip() for line in text.splitlines() if line.strip() and "complete log" not in line]
    raise NotLookedUpError(f"{Path(command[0]).name}: {lines[-1][:200] if lines else 'no reason given'}")


def main() -> int:
    failed: dict[str, str] = {}
    vulnerable = 0
    for lock, command in commands().items():
        try:
            found = vulnerabilities(command, (ROOT / lock).parent)
        except NotLookedUpError as error:
            failed[lock] = str(error)
            continue
        vulnerable += bool(found)
        print(f"brain2: {lock}: {found or 'no known vulnerability'}", flush=True)
    if failed:
        lock, why = next(iter(failed.items()))
        print(
            f"brain2: {len(failed)} of {len(commands())} locks were not looked up; for {lock} the reason is {why}",
            file=sys.stderr,
        )
    return 1 if failed or vulnerable else 0


if __name__ == "__main__":
    sys.exit(main())

"""Writes what the Python client takes from the protos: `make proto`.

Its messages are those of the stubs beside the .proto files, with imports inside the package instead of from the root of
the checkout. They describe the same files, byte for byte, so that both may be loaded into one process. The synchronous
client is written from the asynchronous one (twin.py).
"""

import re
import sys
from pathlib import Path

from clients.python import twin

ROOT = Path(__file__).resolve().parents[2]
_CONTEXTS = ("options", "node", "graph", "similarity", "cleanup")
_POLICY = Path("docs/retry-policy.json")
_PACKAGE = Path("clients/python/brain2")


def main(out: Path) -> None:
    """Write the files below out/clients/python/brain2, from the stubs below out/protos."""
    package = out / _PACKAGE
    (package / "_proto").mkdir(parents=True, exist_ok=True)
    for context in _CONTEXTS:
        for name in (f"{context}_pb2.py", f"{context}_pb2.pyi"):
            text = (out / "protos" / context / "v1" / name).read_text(encoding="utf-8")
            (package / "_proto" / name).write_text(_inside(text), encoding="utf-8")
    generated = '"""Generated from the .proto files of Brain2 by `make proto`."""\n'
    (package / "_proto" / "__init__.py").write_text(generated, encoding="utf-8")
    (package / "retry-policy.json").write_text((ROOT / _POLICY).read_text(encoding="utf-8"), encoding="utf-8")
    (package / "_sync.py").write_text(twin.source(ROOT / _PACKAGE), encoding="utf-8")


def _inside(text: str) -> str:
    return re.sub(r"^from protos\.\w+\.v1 import ", "from . import ", text, flags=re.MULTILINE)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))

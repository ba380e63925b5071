"""Generates what the Python client takes from the protos: `make proto`.

The messages and their types come from protoc, with imports inside the package instead of from the root of the checkout.
The names of the .proto files stay as they are, so that both sets of stubs describe the same messages and may be loaded
into one process. The synchronous client is written from the asynchronous one (twin.py).
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from clients.python import twin

ROOT = Path(__file__).resolve().parents[2]
_OPTIONS = "protos/options/v1/options.proto"
_CONTEXTS = ("node", "graph", "similarity", "cleanup")
_POLICY = Path("docs/retry-policy.json")
_PACKAGE = Path("clients/python/brain2")


def main(out: Path) -> None:
    """Write the files below out/clients/python/brain2."""
    package = out / _PACKAGE
    with tempfile.TemporaryDirectory() as folder:
        files = [_OPTIONS, *(f"protos/{context}/v1/{context}.proto" for context in _CONTEXTS)]
        protoc = [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"-I{ROOT}",
            f"--python_out={folder}",
            f"--pyi_out={folder}",
        ]
        subprocess.run([*protoc, *files], check=True, cwd=ROOT)
        for path in sorted(Path(folder).rglob("*_pb2.py*")):
            target = package / "_proto" / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_inside(path.read_text(encoding="utf-8")), encoding="utf-8")
    (package / "_proto" / "__init__.py").write_text(
        '"""Generated from the .proto files of Brain2 by `make proto`."""\n'
    )
    (package / "retry-policy.json").write_text((ROOT / _POLICY).read_text(encoding="utf-8"), encoding="utf-8")
    (package / "_sync.py").write_text(twin.source(ROOT / _PACKAGE), encoding="utf-8")


def _inside(text: str) -> str:
    return re.sub(r"^from protos\.\w+\.v1 import ", "from . import ", text, flags=re.MULTILINE)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))

"""Writes what the Python client takes from the protos: `make proto`.

Its messages are those of the stubs beside the .proto files, with imports inside the package instead of from the root of
the checkout, and in a descriptor pool of its own: a program may load other stubs of Brain2, also of another version,
beside the client. The synchronous client is written from the asynchronous one (twin.py).
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
    (package / "_proto" / "__init__.py").write_text(_POOL, encoding="utf-8")
    (package / "retry-policy.json").write_text((ROOT / _POLICY).read_text(encoding="utf-8"), encoding="utf-8")
    (package / "_sync.py").write_text(twin.source(ROOT / _PACKAGE), encoding="utf-8")


_POOL = '''"""Generated from the .proto files by `make proto`: messages in a descriptor pool of their own."""

from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, field_mask_pb2, timestamp_pb2

POOL = descriptor_pool.DescriptorPool()
for _file in (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2):
    POOL.AddSerializedFile(_file.DESCRIPTOR.serialized_pb)
'''


def _inside(text: str) -> str:
    text = text.replace("_descriptor_pool.Default()", "POOL")
    text = text.replace("from google.protobuf import descriptor_pool as _descriptor_pool\n", "from . import POOL\n")
    return re.sub(r"^from protos\.\w+\.v1 import ", "from . import ", text, flags=re.MULTILINE)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))

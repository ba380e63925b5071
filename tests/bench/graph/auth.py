"""What authentication costs on the hot path: GetNeighbors from memory, with BRAIN2_AUTH=oidc and with none."""

import tempfile
from pathlib import Path
from typing import Any

from protos.graph.v1 import graph_pb2
from tests.bench.graph import seed
from tests.bench.graph.hot import GET, NOTES, spread
from tests.bench.graph.load import rate
from tests.bench.graph.world import Bench
from tests.support.tokens import AUDIENCE, ISSUER, Issuer

USER = "bench-auth"


async def measure(bench: Bench, rounds: int, calls: int) -> dict[str, Any]:
    """The ratio of calls a second, with a token of usual size on each call. calls: in each measurement.

    Each round measures off, on, on, off: so a machine whose speed drifts favours neither.
    """
    issuer = Issuer()
    token = issuer.token(USER, "read write", exp=2**32)
    with tempfile.TemporaryDirectory() as folder:
        jwks = Path(folder) / "jwks.json"
        jwks.write_bytes(issuer.jwks())
        await seed.ring(bench.stores, USER, NOTES, each=5)
        off = await bench.service("graph")
        on = await bench.service(
            "graph",
            BRAIN2_AUTH="oidc",
            BRAIN2_OIDC_ISSUER=ISSUER,
            BRAIN2_OIDC_AUDIENCE=AUDIENCE,
            BRAIN2_OIDC_JWKS=str(jwks),
        )
        request = graph_pb2.GetNeighborsRequest(user_id=USER, node_id=seed.name(0)).SerializeToString()
        ratios: list[float] = []
        rates: dict[str, list[float]] = {"off": [], "on": []}
        for number in range(rounds + 1):
            found: dict[str, float] = {"off": 0.0, "on": 0.0}
            for name in ("off", "on", "on", "off"):
                port, sent = (on, token) if name == "on" else (off, "")
                found[name] += (await rate(port, GET, request, calls, None, token=sent)).calls / 2
            if number == 0:
                continue  # the first warms everything
            ratios.append(found["on"] / found["off"])
            for name, values in rates.items():
                values.append(found[name])
    return {"auth_on_vs_off": {**spread(ratios), **{f"{name}_rps": spread(each) for name, each in rates.items()}}}

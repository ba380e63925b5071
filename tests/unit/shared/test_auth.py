"""The parts of authentication by themselves: the issuer's keys through rotation and outage, key files, what is kept."""

import asyncio
import base64
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from shared.auth import authenticator
from shared.auth.authenticator import Authenticator
from shared.auth.jwks import Jwks, parse
from shared.auth.oidc import Oidc
from shared.auth.preshared import KeyFileError, read
from shared.errors import Unauthenticated, Unavailable
from tests.support.clock import ManualClock, run_ready
from tests.support.tokens import AUDIENCE, ISSUER, Issuer, write_keys
from tests.support.waiting import until

KEY = "k" * 32
SHORT = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505


class Source:
    """Where the keys of an issuer come from; it counts the fetches, and may be down."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.fetches = 0
        self.down = False

    async def fetch(self) -> bytes:
        self.fetches += 1
        if self.down:
            raise OSError("down")
        return self.issuer.jwks()


def verifier(source: Source, clock: ManualClock, **changed: Any) -> Oidc:
    return Oidc(Jwks("", clock, fetch=source.fetch), ISSUER, AUDIENCE, **changed)


async def test_a_new_key_of_the_issuer_is_found_and_a_withdrawn_one_ends() -> None:
    issuer, clock = Issuer(), ManualClock()
    source = Source(issuer)
    oidc = verifier(source, clock)
    old = issuer.token("ada", "read")
    assert (await oidc.verify(old)).scopes == {"read"}
    issuer.rotate()
    await clock.advance(11)
    assert (await oidc.verify(issuer.token("bob"))).user == "bob"
    assert source.fetches == 2
    assert (await oidc.verify(old)).user == "ada", "both keys are published"
    del issuer.keys["key-0"]
    await clock.advance(301)

    async def withdrawn() -> bool:
        try:
            await oidc.verify(old)
        except Unauthenticated:
            return True
        return False

    # The keys are read again beside the calls, and parsed in a thread.
    await until(withdrawn, what="the end of the old key")


async def test_unknown_key_ids_fetch_once_in_the_cooldown() -> None:
    issuer, clock, stranger = Issuer(), ManualClock(), Issuer()
    source = Source(issuer)
    oidc = verifier(source, clock)
    await oidc.verify(issuer.token("ada"))
    for _ in range(3):
        stranger.rotate()
    forged = [stranger.token("ada") for _ in range(50)]
    for round_ in (1, 2):
        await clock.advance(11)
        results = await asyncio.gather(*map(oidc.verify, forged), return_exceptions=True)
        assert {type(result) for result in results} == {Unauthenticated}
        assert source.fetches == 1 + round_


async def test_the_last_keys_serve_through_an_outage() -> None:
    issuer, clock = Issuer(), ManualClock()
    source = Source(issuer)
    oidc = verifier(source, clock)
    await oidc.verify(issuer.token("ada"))
    source.down = True
    for _ in range(5):
        await clock.advance(3600)
        assert (await oidc.verify(issuer.token("ada"))).user == "ada"
        await run_ready()
    assert source.fetches == 6, "each time in the background"


async def test_before_the_first_keys_nobody_is_let_in_and_nobody_is_blamed() -> None:
    issuer, clock = Issuer(), ManualClock()
    source = Source(issuer)
    source.down = True
    oidc = verifier(source, clock)
    for _ in range(3):
        with pytest.raises(Unavailable) as away:
            await oidc.verify(issuer.token("ada"))
    assert away.value.reason == "ISSUER_KEYS_UNAVAILABLE"
    assert source.fetches == 1
    source.down = False
    await clock.advance(11)
    await oidc.verify(issuer.token("ada"))


async def test_keys_come_over_http_and_a_huge_answer_is_refused() -> None:
    issuer = Issuer()
    body = [issuer.jwks()]

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body[0])

    app = web.Application()
    app.router.add_get("/jwks", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    try:
        clock = ManualClock()
        jwks = Jwks(f"http://127.0.0.1:{port}/jwks", clock)
        assert await jwks.get("key-0") is not None
        body[0] = b'{"keys": [' + b" " * 300_000 + b"]}"
        await clock.advance(11)
        assert await jwks.get("other") is None
        assert await jwks.get("key-0") is not None, "the former keys stay"
    finally:
        await runner.cleanup()


async def test_a_caller_that_ends_leaves_the_fetch_to_the_others() -> None:
    """Else callers with short deadlines would cause a flood of fetches, and none of them would come to its end."""
    issuer, clock = Issuer(), ManualClock()
    go, fetches = asyncio.Event(), 0

    async def fetch() -> bytes:
        nonlocal fetches
        fetches += 1
        await go.wait()
        return issuer.jwks()

    jwks = Jwks("", clock, fetch=fetch)
    for _ in range(5):
        caller = asyncio.create_task(jwks.get("key-0"))
        await run_ready()
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
    patient = asyncio.create_task(jwks.get("key-0"))
    await run_ready()
    go.set()
    assert await patient is not None
    assert fetches == 1


def test_unusable_keys_cost_one_line(caplog: pytest.LogCaptureFixture) -> None:
    assert parse(json.dumps({"keys": [{"kty": "RSA", "kid": f"k{number}"} for number in range(1000)]}).encode()) == {}
    (record,) = caplog.records
    assert (record.__dict__["keys"], record.__dict__["first"]) == (1000, "k0")


def test_only_public_keys_for_signatures_are_used() -> None:
    issuer = Issuer()
    (good,) = json.loads(issuer.jwks())["keys"]
    others = [
        {"kty": "oct", "kid": "shared", "k": "c2VjcmV0"},
        {**good, "kid": "encryption", "use": "enc"},
        {**good, "kid": "hmac", "alg": "HS256"},
        {"kty": "RSA", "kid": "broken", "n": "?", "e": "AQAB"},
        {**jwt.algorithms.RSAAlgorithm.to_jwk(SHORT.public_key(), as_dict=True), "kid": "short"},
        {"kty": "EC", "crv": "secp256k1", "kid": "odd"},
        "text",
    ]
    assert set(parse(json.dumps({"keys": [*others, good]}).encode())) == {"key-0"}
    for wrong in (b"[]", b"{}", b'{"keys": 1}', b"\xff"):
        with pytest.raises(ValueError, match=r".*"):
            parse(wrong)


@pytest.mark.parametrize(
    "answer", [b"", b"\xff", b"[" * 100_000, b'{"keys": 1}', b'{"keys": []}', b'{"keys": [{"kty": "oct", "k": "eA"}]}']
)
async def test_a_garbled_answer_of_the_issuer_keeps_the_last_keys(answer: bytes) -> None:
    issuer, clock = Issuer(), ManualClock()
    answers = [issuer.jwks(), answer]
    fetches = 0

    async def fetch() -> bytes:
        nonlocal fetches
        fetches += 1
        return answers[min(fetches, 2) - 1]

    jwks = Jwks("", clock, fetch=fetch)
    assert await jwks.get("key-0") is not None
    await clock.advance(11)
    for _ in range(3):
        assert await jwks.get("other") is None
    assert await jwks.get("key-0") is not None
    assert fetches == 2


@pytest.mark.parametrize(
    ("algorithm", "kind", "key"),
    [
        ("PS384", "RSA", rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        ("ES256", "EC", ec.generate_private_key(ec.SECP256R1())),
        ("ES384", "EC", ec.generate_private_key(ec.SECP384R1())),
        ("EdDSA", "OKP", ed25519.Ed25519PrivateKey.generate()),
    ],
)
async def test_every_kind_of_key_verifies_its_own_algorithms_alone(algorithm: str, kind: str, key: Any) -> None:
    issuer = Issuer()
    to_jwk = {"RSA": jwt.algorithms.RSAAlgorithm, "EC": jwt.algorithms.ECAlgorithm, "OKP": jwt.algorithms.OKPAlgorithm}
    public: Any = to_jwk[kind].to_jwk(key.public_key(), as_dict=True)  # type: ignore[attr-defined]

    async def fetch() -> bytes:
        return json.dumps({"keys": [public]}).encode()

    oidc = Oidc(Jwks("", ManualClock(), fetch=fetch), ISSUER, AUDIENCE)
    claims = issuer.claims("ada", "read", aud=["other", AUDIENCE])
    # Without a key id: the issuer has one key.
    assert (await oidc.verify(jwt.encode(claims, key, algorithm=algorithm))).user == "ada"
    with pytest.raises(Unauthenticated):
        await oidc.verify(jwt.encode(claims, key, algorithm=algorithm, headers={"kid": "another"}))
    other = "RS256" if kind != "RSA" else "ES256"
    rest = jwt.encode(claims, key, algorithm=algorithm).partition(".")[2]
    forged = base64.urlsafe_b64encode(json.dumps({"alg": other}).encode()).rstrip(b"=").decode()
    with pytest.raises(Unauthenticated):
        await oidc.verify(f"{forged}.{rest}")


async def test_the_algorithm_must_be_the_keys() -> None:
    issuer = Issuer()
    (key,) = json.loads(issuer.jwks())["keys"]

    async def fetch() -> bytes:
        return json.dumps({"keys": [{**key, "alg": "RS256"}]}).encode()

    oidc = Oidc(Jwks("", ManualClock(), fetch=fetch), ISSUER, AUDIENCE)
    await oidc.verify(issuer.token("ada"))
    with pytest.raises(Unauthenticated, match="not signed with a key"):
        await oidc.verify(issuer.token("ada", algorithm="PS256"))


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": "brain2.read other.write brain2.admin brain2.everything"}, {"read", "admin"}),
        ({"scope": ["brain2.write", 7, None]}, {"write"}),
        ({"scope": {"brain2.write": True}}, set()),
        ({"scope": None}, set()),
    ],
)
async def test_scopes_are_read_from_the_claim(claims: dict[str, Any], scopes: set[str]) -> None:
    issuer = Issuer()
    oidc = verifier(Source(issuer), ManualClock(), scope_prefix="brain2.", user_claim="uid")
    principal = await oidc.verify(issuer.token("auth0|1", uid="ada", **claims))
    assert (principal.user, set(principal.scopes)) == ("ada", scopes)


async def test_the_leeway_is_for_clocks_that_differ() -> None:

    issuer = Issuer()
    oidc = verifier(Source(issuer), ManualClock(), leeway=30.0)
    await oidc.verify(issuer.token("ada", exp=int(time.time()) - 10, nbf=int(time.time()) + 10))
    with pytest.raises(Unauthenticated) as expired:
        await oidc.verify(issuer.token("ada", exp=int(time.time()) - 40))
    assert expired.value.reason == "TOKEN_EXPIRED"


# ---------------------------------------------------------------------- preshared keys


async def test_a_key_may_be_given_by_its_hash(tmp_path: Path) -> None:
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    keys = write_keys(tmp_path / "keys.json", {"name": "a", "sha256": digest, "scopes": ["read"], "user": "ada"})
    principal = await Authenticator(key_file=keys).verify(f"Bearer {KEY}")
    assert (principal.name, principal.user, set(principal.scopes)) == ("a", "ada", {"read"})


GOOD = {"name": "a", "key": KEY, "scopes": ["read"]}


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([{**GOOD, "key": "short-SECRET"}], "entry 1 has a key of less than 32"),
        ([{**GOOD, "key": "k\u00e9" * 32}], "entry 1 has a key with other characters"),
        ([{**GOOD, "key": "k" * 32 + "\ud800"}], "entry 1 has a key with other characters"),
        ([{**GOOD, "key": "k" * 32 + " k"}], "entry 1 has a key with other characters"),
        ([{**GOOD, "scopes": ["root"]}], "entry 1 needs scopes"),
        ([{**GOOD, "scopes": []}], "needs scopes"),
        ([{**GOOD, "scopes": "read"}], "needs scopes"),
        ([{**GOOD, "name": ""}], "needs a name"),
        ([{**GOOD, "user": "a#b"}], "has a user"),
        ([{**GOOD, "sha256": "0" * 64}], "exactly one"),
        ([{"name": "a", "scopes": ["read"]}], "exactly one"),
        ([{"name": "a", "scopes": ["read"], "sha256": "00"}], "64 hex digits"),
        ([{**GOOD, "scope": "read"}], "must be an object with the fields"),
        ([GOOD, GOOD], "entry 2 has the name"),
        ([GOOD, {**GOOD, "name": "b"}], "entry 2 has the name, key"),
        (["a"], "must be an object"),
    ],
)
def test_a_wrong_entry_is_named_without_its_key(tmp_path: Path, entries: list[Any], problem: str) -> None:
    with pytest.raises(KeyFileError, match=problem) as error:
        read(write_keys(tmp_path / "keys.json", *entries))
    assert "SECRET" not in str(error.value)
    assert KEY not in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", '{"keys": {}}', "{", "[" * 100_000])
def test_a_key_file_must_have_the_form(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys.json").write_text(text)
    with pytest.raises(KeyFileError):
        read(str(tmp_path / "keys.json"))
    with pytest.raises(KeyFileError, match="can't read"):
        read(str(tmp_path / "none"))


# ---------------------------------------------------------------------- what is kept


async def test_verified_headers_are_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = Issuer()
    tokens = [issuer.token(f"user{number}") for number in range(5)]
    monkeypatch.setattr(authenticator, "_MOST_HEADERS", 3)
    found = Authenticator(verifier(Source(issuer), ManualClock()))
    for token in tokens:
        await found.verify(f"Bearer {token}")
    assert [found.known(f"Bearer {token}") is not None for token in tokens] == [False, False, True, True, True]
    monkeypatch.setattr(authenticator, "_MOST_BYTES", 1000)
    await found.verify(f"Bearer {tokens[0]}")
    assert [found.known(f"Bearer {token}") is not None for token in tokens] == [True, False, False, False, False]


@pytest.mark.parametrize("header", ["Basic abc", "Bearer", "Bearer ", "Bearer \u00e9", "Bearer " + "x" * 9000, KEY])
async def test_other_headers_are_refused_and_not_kept(tmp_path: Path, header: str) -> None:
    found = Authenticator(key_file=write_keys(tmp_path / "keys.json", GOOD))
    with pytest.raises(Unauthenticated) as refused:
        await found.verify(header)
    assert refused.value.reason == "TOKEN_INVALID"
    assert found.known(header) is None

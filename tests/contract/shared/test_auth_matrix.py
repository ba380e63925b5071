"""Who may call what: every RPC of the .protos with every kind of caller, through a real server."""

import base64
import hashlib
import hmac
import json
import math
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from google.protobuf.descriptor import MethodDescriptor

from protos.options.rules import traits
from shared.grpc.validation import validator
from tests.support.doors import METHODS, Door, opened, request_for
from tests.support.tokens import Issuer

OK, DENIED, UNKNOWN = grpc.StatusCode.OK, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED
ALL = "read write admin internal act_as"
ISSUED = Issuer()
KEY = "k" * 40


@pytest.fixture(scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    service = {"name": "node", "key": KEY, "scopes": ["internal", "read"]}
    async with opened(tmp_path_factory.mktemp("door"), ISSUED, service) as door:
        yield door


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _forged(header: dict[str, Any] | bytes, signature: Callable[[bytes], bytes]) -> str:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    signed = f"{_base64(encoded)}.{_base64(json.dumps(ISSUED.claims('ada', ALL)).encode())}"
    return f"{signed}.{_base64(signature(signed.encode()))}"


def _with_public_key(algorithm: str, digest: Callable[..., Any]) -> str:
    """The public key as the secret of an HMAC: PyJWT itself refuses to make such a token."""
    header = {"alg": algorithm, "kid": "key-0"}
    return _forged(header, lambda data: hmac.new(ISSUED.public_pem(), data, digest).digest())


STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
BAD_TOKENS = {
    "none": "",
    "garbage": "garbage",
    "garbled JWT": "a.b.c",
    "not the key": "k" * 39 + "x",
    "expired": ISSUED.token("ada", ALL, exp=int(time.time()) - 5),
    "not yet valid": ISSUED.token("ada", ALL, nbf=int(time.time()) + 600),
    "another audience": ISSUED.token("ada", ALL, aud="another"),
    "no audience": ISSUED.token("ada", ALL, aud=None),
    "another issuer": ISSUED.token("ada", ALL, iss="https://another.test"),
    "no expiry": ISSUED.token("ada", ALL, exp=None),
    "no subject": ISSUED.token("ada", ALL, sub=None),
    "subject that is no user_id": ISSUED.token("a#b", ALL),
    "alg none": _forged({"alg": "none", "kid": "key-0"}, lambda _: b""),
    "alg None": _forged({"alg": "None", "kid": "key-0"}, lambda _: b""),
    "alg NONE": _forged({"alg": "NONE", "kid": "key-0"}, lambda _: b""),
    "alg is a list": _forged({"alg": ["RS256"], "kid": "key-0"}, lambda _: b""),
    "alg is an object": _forged({"alg": {}, "kid": "key-0"}, lambda _: b""),
    "alg of another kind of key": _forged({"alg": "ES256", "kid": "key-0"}, lambda _: b"x" * 64),
    "no alg": _forged({"kid": "key-0"}, lambda _: b""),
    "key id is a number": _forged({"alg": "RS256", "kid": 0}, lambda _: b""),
    "deep header": _forged(b"[" * 3000, lambda _: b""),
    "header with a deep part": _forged(b'{"alg": "RS256", "kid": "key-0", "x": ' + b"[" * 2000, lambda _: b""),
    "unknown critical extension": ISSUED.token("ada", ALL, headers={"crit": ["x"], "x": 1}),
    "payload outside of the token": _forged({"alg": "RS256", "kid": "key-0", "b64": False, "crit": ["b64"]}, bytes),
    "audience is an object": ISSUED.token("ada", ALL, aud={"brain2": 1}),
    "list of other audiences": ISSUED.token("ada", ALL, aud=["a", "b"]),
    "subject is a list": jwt.api_jws.encode(
        json.dumps(ISSUED.claims("ada", ALL) | {"sub": ["ada"]}).encode(),
        ISSUED.keys["key-0"],
        "RS256",
        {"kid": "key-0"},
    ),
    "expires in 10^400 s": ISSUED.token("ada", ALL, exp=10**400),
    "never expires": ISSUED.token("ada", ALL, exp=math.inf),
    "expires at NaN": ISSUED.token("ada", ALL, exp=math.nan),
    "HS256 with the public key": _with_public_key("HS256", hashlib.sha256),
    "HS512 with the public key": _with_public_key("HS512", hashlib.sha512),
    "another's signature": jwt.encode(ISSUED.claims("ada", ALL), STRANGER, algorithm="RS256", headers={"kid": "key-0"}),
    "unknown key id": jwt.encode(ISSUED.claims("ada", ALL), STRANGER, algorithm="RS256", headers={"kid": "x"}),
}
# GetErasure names no user: its answer decides, in the cleanup service.
OF_A_USER = [method for method in METHODS if "user_id" in method.input_type.fields_by_name]
each_method_of_a_user = pytest.mark.parametrize("method", OF_A_USER, ids=lambda method: method.full_name)
each_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)


@each_method
def test_the_requests_of_these_tests_break_no_limit(method: MethodDescriptor) -> None:
    assert validator(method.input_type)(request_for(method, "ada")) == []


@each_method
@pytest.mark.parametrize("kind", BAD_TOKENS)
async def test_without_a_valid_token_no_rpc_is_served(door: Door, method: MethodDescriptor, kind: str) -> None:
    door.seen.clear()
    assert await door.call(method, request_for(method, "ada"), BAD_TOKENS[kind]) == UNKNOWN
    assert not door.seen


@each_method
@pytest.mark.parametrize("scope", ["", "read", "write", "admin", "internal", "act_as", "other"])
async def test_a_caller_with_one_scope_has_the_rpcs_of_that_scope(
    door: Door, method: MethodDescriptor, scope: str
) -> None:
    door.seen.clear()
    allowed = scope != "" and scope in (traits(method).scope, traits(method).all_users)
    code = await door.call(method, request_for(method, "ada"), ISSUED.token("ada", scope))
    assert code == (OK if allowed else DENIED)
    assert bool(door.seen) == allowed


@each_method_of_a_user
@pytest.mark.parametrize("scopes", ["read write", "read write act_as", "admin", "internal"])
async def test_another_users_data_needs_a_scope_for_it(door: Door, method: MethodDescriptor, scopes: str) -> None:
    door.seen.clear()
    needed = traits(method).scope
    allowed = needed in scopes.split() and (needed in ("admin", "internal") or "act_as" in scopes)
    allowed = allowed or traits(method).all_users in scopes.split()
    code = await door.call(method, request_for(method, "bob"), ISSUED.token("ada", scopes))
    assert code == (OK if allowed else DENIED)
    assert door.seen == ([(method.name, "bob")] if allowed else [])


@each_method_of_a_user
async def test_an_empty_user_id_is_the_callers(door: Door, method: MethodDescriptor) -> None:
    door.seen.clear()
    assert await door.call(method, request_for(method, ""), ISSUED.token("ada", "read write internal act_as")) in (
        OK,
        DENIED,  # the RPCs for operators
    )
    assert door.seen in ([], [(method.name, "ada")])
    door.seen.clear()
    code = await door.call(method, request_for(method, ""), ISSUED.token("ada", ALL))
    everybody = bool(traits(method).all_users)
    assert (code, door.seen) == (OK, [(method.name, "" if everybody else "ada")])


async def test_without_a_user_the_deletions_of_all_are_for_operators(door: Door) -> None:
    method = next(method for method in METHODS if method.name == "ListDeletions")
    assert [each.name for each in METHODS if traits(each).all_users] == ["ListDeletions", "GetErasure"]
    # The key has no user whose deletions could be meant.
    assert await door.call(method, request_for(method, ""), KEY) == DENIED


async def test_permission_comes_before_the_form_of_the_request(door: Door) -> None:
    method = next(method for method in METHODS if method.name == "GetNode")
    assert await door.call(method, b"\xff\xff", "") == UNKNOWN
    assert await door.call(method, b"\xff\xff", ISSUED.token("ada", "write")) == DENIED
    assert await door.call(method, b"\xff\xff", ISSUED.token("ada", "read")) == grpc.StatusCode.INVALID_ARGUMENT

"""The OpenAPI document of the console by a validator of the standard: others make clients of it."""

import json
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing.exceptions import Unresolvable

from clients.console.app import OPENAPI


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(OPENAPI.read_text(encoding="utf-8"))
    return found


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


@pytest.mark.parametrize("wrong", [{"type": "txt"}, {"$ref": "#/components/schemas/nowhere"}, {"pattern": 5}])
def test_the_validator_would_find_a_wrong_schema(document: dict[str, Any], wrong: dict[str, Any]) -> None:
    schema = {"type": "object", "properties": {"title": wrong}}
    components = {
        **document["components"],
        "schemas": {**document["components"]["schemas"], "brain2.node.v1.Node": schema},
    }
    try:
        found = list(OpenAPIV31SpecValidator({**document, "components": components}).iter_errors())
    except Unresolvable:
        return
    assert found


def test_every_operation_has_a_description_and_an_id_of_its_own(document: dict[str, Any]) -> None:
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert all(operation["description"] for operation in operations)

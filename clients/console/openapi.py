"""Writes openapi.json from the .proto files: `make proto`. Comments become descriptions, and limits become schemas.

The console serves the file as it is. protoc is needed here, since the stubs have no comments.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from clients.console.methods import CONTEXTS, Method, methods
from protos.options.v1 import options_pb2

ROOT = Path(__file__).resolve().parents[2]
_TARGET = Path("clients/console/openapi.json")
Schema = dict[str, Any]

_PATTERNS = {
    options_pb2.PATTERN_ID: "[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
    options_pb2.PATTERN_USER_ID: "[A-Za-z0-9][A-Za-z0-9._@-]{0,127}",
    options_pb2.PATTERN_EDGE_TYPE: "[a-z][a-z0-9_]{0,31}",
}
_WELL_KNOWN: dict[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
    "google.protobuf.FieldMask": {
        "type": "string",
        "description": "Paths in lowerCamelCase, with commas between them.",
    },
}
_INTEGERS_AS_TEXT = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)
_NUMBERS = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)
_ERROR: Schema = {
    "type": "object",
    "required": ["code", "message"],
    "properties": {
        "code": {"type": "string", "description": "The status code of gRPC in lower case: not_found."},
        "message": {"type": "string", "description": "A sentence for a person."},
        "details": {
            "type": "array",
            "description": "Messages of google.rpc: ErrorInfo with the reason, BadRequest with the fields, RetryInfo.",
            "items": {
                "type": "object",
                "properties": {
                    "type": {"type": "string", "description": "The name of the message: google.rpc.ErrorInfo."},
                    "value": {"type": "string", "description": "The message in base64."},
                    "debug": {"type": "object", "description": "The same message as JSON."},
                },
            },
        },
    },
}
_ABOUT = (
    "The services of Brain2 in Connect's protocol. An RPC is a POST of its request as JSON. One that only reads may be "
    "a GET with the request in the query, too: ?encoding=json&message={...}. Answers of streaming RPCs are lines of "
    "JSON, or server-sent events with the header Accept: text/event-stream. Connect-Timeout-Ms is the deadline. "
    "docs/contracts.md describes errors, retries, pages, consistency and limits."
)


class Document:
    """The document. comments: full name -> comment of each message, field, enum value and RPC."""

    def __init__(self, comments: dict[str, str]) -> None:
        self._comments = comments
        self._schemas: dict[str, Schema] = {"Error": _ERROR}

    def build(self) -> Schema:
        """The whole document as JSON."""
        paths = {method.path: {"post": self._operation(method)} for method in methods().values()}
        services = sorted({method.descriptor.containing_service.full_name for method in methods().values()})
        return {
            "openapi": "3.1.0",
            "info": {"title": "Brain2", "version": "v1", "description": _ABOUT},
            "servers": [{"url": "/"}],
            "security": [{}, {"bearer": []}],
            "tags": [{"name": name, "description": self._comments.get(name, "")} for name in services],
            "paths": paths,
            "components": {
                "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
                "schemas": dict(sorted(self._schemas.items())),
            },
        }

    def _operation(self, method: Method) -> Schema:
        service = method.descriptor.containing_service.full_name
        answer = {"schema": self._message(method.descriptor.output_type)}
        content = {"application/x-ndjson": answer, "text/event-stream": answer} if method.streams else {
            "application/json": answer
        }  # fmt: skip
        return {
            "tags": [service],
            "operationId": method.path[1:].replace("/", "."),
            "description": self._comments.get(f"{service}.{method.descriptor.name}", ""),
            "x-scope": method.traits.scope,
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": self._message(method.descriptor.input_type)}},
            },
            "responses": {
                "200": {
                    "description": "The answers, one by one." if method.streams else "The answer.",
                    "content": content,
                },
                "default": {
                    "description": "The call failed.",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
                },
            },
        }

    def _message(self, message: Descriptor) -> Schema:
        name = message.full_name
        if name in _WELL_KNOWN:
            return dict(_WELL_KNOWN[name])
        if name not in self._schemas:
            self._schemas[name] = schema = {"type": "object"}
            if name in self._comments:
                schema["description"] = self._comments[name]
            required = [field.json_name for field in message.fields if _rules(field).required]
            properties = {field.json_name: self._field(message, field) for field in message.fields}
            schema |= {"properties": properties}  # type: ignore[dict-item]
            if required:
                schema["required"] = required  # type: ignore[assignment]
        return {"$ref": f"#/components/schemas/{name}"}

    def _field(self, message: Descriptor, field: FieldDescriptor) -> Schema:
        rules = _rules(field)
        entry = field.message_type if field.message_type is not None else None
        if entry is not None and entry.GetOptions().map_entry:
            schema: Schema = {
                "type": "object",
                "additionalProperties": self._single(entry.fields_by_name["value"], None),
            }
            keys = _text_limits(rules)
            schema |= {"propertyNames": keys} if keys else {}
            schema |= {"maxProperties": rules.max_items} if rules.max_items else {}
        elif field.is_repeated:
            schema = {"type": "array", "items": self._single(field, rules)}
            schema |= {"minItems": rules.min_items} if rules.min_items else {}
            schema |= {"maxItems": rules.max_items} if rules.max_items else {}
        else:
            schema = self._single(field, rules)
        texts = [self._comments.get(f"{message.full_name}.{field.name}", ""), *_in_words(rules)]
        description = " ".join(text for text in texts if text)
        return {**schema, "description": description} if description else schema

    def _single(self, field: FieldDescriptor, rules: Any) -> Schema:
        limits = rules or options_pb2.FieldRules()
        if field.message_type is not None:
            return self._message(field.message_type)
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        if field.type == FieldDescriptor.TYPE_BYTES:
            return {"type": "string", "contentEncoding": "base64"}
        if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            return {"type": "string", **_text_limits(limits)}
        if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
            return {"type": "boolean"}
        if field.cpp_type in _INTEGERS_AS_TEXT:
            # In JSON a number of 64 bits is a text, since JavaScript would round it; a request may also have a number.
            return {"type": ["string", "integer"], "pattern": "^-?[0-9]+$", **_range(limits)}
        return {"type": "number" if field.cpp_type in _NUMBERS else "integer", **_range(limits)}

    def _enum(self, enum: EnumDescriptor) -> Schema:
        lines = [f"{value.name}: {self._comments.get(f'{enum.full_name}.{value.name}', '')}" for value in enum.values]
        about = self._comments.get(enum.full_name, "")
        names = [value.name for value in enum.values]
        return {"type": "string", "enum": names, "description": "\n".join([about, *lines]).strip()}


def _rules(field: FieldDescriptor) -> Any:
    options: Any = field.GetOptions()
    return options.Extensions[options_pb2.field]


def _text_limits(rules: Any) -> Schema:
    found: Schema = {}
    if rules.pattern in _PATTERNS:
        pattern = _PATTERNS[rules.pattern]
        found["pattern"] = f"^({pattern})?$" if rules.allow_empty else f"^{pattern}$"
    if rules.min_len and not rules.allow_empty:
        found["minLength"] = rules.min_len
    if rules.max_bytes:
        # A character has at least one byte.
        found["maxLength"] = rules.max_bytes
    return found


def _range(rules: Any) -> Schema:
    found: Schema = {}
    if rules.HasField("gte"):
        found["minimum"] = rules.gte
    if rules.HasField("lte"):
        found["maximum"] = rules.lte
    return found


def _in_words(rules: Any) -> list[str]:
    """Limits that JSON Schema can't state."""
    found = []
    if rules.max_bytes:
        found.append(f"At most {rules.max_bytes} bytes of UTF-8.")
    if rules.max_total_bytes:
        found.append(f"Keys and values together: at most {rules.max_total_bytes} bytes of UTF-8.")
    if rules.pattern == options_pb2.PATTERN_LINE:
        found.append("One line without control characters.")
    if rules.min_nonzero:
        found.append(f"0, or at least {rules.min_nonzero:g} from 0.")
    if rules.whole_seconds:
        found.append("Whole seconds.")
    return found


def comments() -> dict[str, str]:
    """Full name -> comment, of every message, field, enum, enum value, service and RPC of the .proto files."""
    files = [f"protos/{context}/v1/{context}.proto" for context in CONTEXTS]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "descriptors"
        protoc = [sys.executable, "-m", "grpc_tools.protoc", "-I.", "--include_source_info"]
        subprocess.run([*protoc, f"--descriptor_set_out={target}", *files], check=True, cwd=ROOT)
        found = FileDescriptorSet.FromString(target.read_bytes())
    texts: dict[str, str] = {}
    for file in found.file:
        names = _names(file)
        for location in file.source_code_info.location:
            path = tuple(location.path)
            if location.leading_comments.strip() and path in names:
                texts[f"{file.package}.{names[path]}"] = " ".join(location.leading_comments.split())
    return texts


def _names(file: Any) -> dict[tuple[int, ...], str]:
    """Position in the source -> name within the package. The numbers are those of the fields of descriptor.proto."""
    found: dict[tuple[int, ...], str] = {}

    def enum(path: tuple[int, ...], name: str, each: Any) -> None:
        found[path] = name
        for n, value in enumerate(each.value):
            found[(*path, 2, n)] = f"{name}.{value.name}"

    def message(path: tuple[int, ...], name: str, each: Any) -> None:
        found[path] = name
        for n, field in enumerate(each.field):
            found[(*path, 2, n)] = f"{name}.{field.name}"
        for n, inner in enumerate(each.nested_type):
            message((*path, 3, n), f"{name}.{inner.name}", inner)
        for n, inner in enumerate(each.enum_type):
            enum((*path, 4, n), f"{name}.{inner.name}", inner)

    for n, each in enumerate(file.message_type):
        message((4, n), each.name, each)
    for n, each in enumerate(file.enum_type):
        enum((5, n), each.name, each)
    for n, each in enumerate(file.service):
        found[6, n] = each.name
        for m, method in enumerate(each.method):
            found[6, n, 2, m] = f"{each.name}.{method.name}"
    return found


def main(out: Path) -> None:
    """Write out/clients/console/openapi.json."""
    target = out / _TARGET
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(Document(comments()).build(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))

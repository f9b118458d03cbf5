#!/usr/bin/env python3
"""The reference of the API, docs/api.md, from the comments of the proto files.

    tools/api.py            writes it
    tools/api.py --check    fails if it is not what the proto files say

It reads the descriptors that buf makes; .tools/venv has the library for them.
"""

import pathlib
import re
import subprocess
import sys

from google.protobuf import descriptor_pb2

ROOT = pathlib.Path(__file__).parent.parent
BUF = ROOT / ".tools/npm/node_modules/.bin/buf"
PAGE = ROOT / "docs/api.md"
PACKAGE = "easemob.messaging.v1"

HEAD = """\
# API reference

Generated from the comments of [the proto files](../proto/easemob/messaging/v1) by `make api`. What to do on which error is in
[errors.md](errors.md), how to call it from your language in [clients.md](clients.md).
"""

# Numbers of fields in descriptor.proto, which make up the paths of source info.
MESSAGE, ENUM, SERVICE = 4, 5, 6
FIELD, NESTED, ONEOF, VALUE, METHOD = 2, 3, 8, 2, 2

Type = descriptor_pb2.FieldDescriptorProto.Type


class File:
    """One proto file, and what its comments say of what."""

    def __init__(self, proto):
        self.proto = proto
        self.comments = {tuple(at.path): at.leading_comments for at in proto.source_code_info.location}

    def says(self, *path) -> str:
        lines = [line.strip() for line in self.comments.get(path, "").strip().splitlines()]
        return "\n".join(lines)


def anchor(name: str) -> str:
    return name.lower().replace(".", "")


def in_cell(text: str) -> str:
    """The text of a comment in one cell of a table."""
    return marked(text.replace("\n\n", "<br>").replace("\n", " ").replace("|", "\\|"))


def marked(text: str) -> str:
    """Names in code style: what has an underscore, google's types, and codes."""
    text = text.replace("<", "&lt;").replace("&lt;br>", "<br>")
    return re.sub(r'(?<![`\w./])(?:[A-Za-z]+(?:\.\w+)*_\w+|google\.\w[\w.]*\w|metadata\["\w+"\]|[A-Z]{7,}\b)', r"`\g<0>`", text)


def short(type_name: str) -> str:
    """A link to a type of ours; the whole name of another's."""
    name = type_name.removeprefix(".")
    if name.startswith(PACKAGE + "."):
        name = name.removeprefix(PACKAGE + ".")
        return f"[{name}](#{anchor(name)})"
    return f"`{name}`"


def type_of(field, message) -> str:
    for nested in message.nested_type:
        if nested.options.map_entry and field.type_name.endswith("." + nested.name):
            return f"map of {type_of(nested.field[0], nested)} to {type_of(nested.field[1], nested)}"
    if field.type in (Type.TYPE_MESSAGE, Type.TYPE_ENUM):
        return short(field.type_name)
    return Type.Name(field.type).removeprefix("TYPE_").lower()


def label(field, message) -> str:
    kind = type_of(field, message)
    if field.label == field.LABEL_REPEATED and not kind.startswith("map"):
        return "list of " + kind
    return kind + (", optional" if field.proto3_optional else "")


def services(files):
    for file in files:
        for at, service in enumerate(file.proto.service):
            yield f"## {service.name}\n"
            yield marked(file.says(SERVICE, at)) + "\n"
            for number, method in enumerate(service.method):
                asks = ("stream of " if method.client_streaming else "") + short(method.input_type)
                answers = ("stream of " if method.server_streaming else "") + short(method.output_type)
                yield f"### {service.name}.{method.name}\n"
                yield f"{asks} → {answers}\n"
                yield marked(file.says(SERVICE, at, METHOD, number)) + "\n"


def messages(files):
    yield "## Messages\n"
    for file in files:
        for at, message in enumerate(file.proto.message_type):
            yield f"### {message.name}\n"
            yield marked(file.says(MESSAGE, at)) + "\n"
            yield from fields(file, at, message)


def fields(file, at, message):
    yield "| field | type | |\n| --- | --- | --- |"
    told = set()
    for number, field in enumerate(message.field):
        one_of = field.oneof_index if field.HasField("oneof_index") and not field.proto3_optional else None
        if one_of is not None and one_of not in told:
            told.add(one_of)
            says = in_cell(file.says(MESSAGE, at, ONEOF, one_of))
            yield f"| *one of* `{message.oneof_decl[one_of].name}` | | {says} |"
        inset = "" if one_of is None else "&nbsp;&nbsp;"
        says = in_cell(file.says(MESSAGE, at, FIELD, number))
        yield f"| {inset}`{field.name}` = {field.number} | {label(field, message)} | {says} |"
    yield ""


def enums(files):
    yield "## Enums\n"
    for file in files:
        for at, enum in enumerate(file.proto.enum_type):
            yield f"### {enum.name}\n"
            yield marked(file.says(ENUM, at)) + "\n"
            yield "| value | number | |\n| --- | --- | --- |"
            for number, value in enumerate(enum.value):
                yield f"| `{value.name}` | {value.number} | {in_cell(file.says(ENUM, at, VALUE, number))} |"
            yield ""


def page() -> str:
    built = subprocess.run([BUF, "build", "-o", "-"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    found = descriptor_pb2.FileDescriptorSet.FromString(built).file
    files = [File(proto) for proto in found if proto.package == PACKAGE]
    # The service first, then what it is made of.
    files.sort(key=lambda file: (not file.proto.service, file.proto.name))
    lines = [HEAD, *services(files), *messages(files), *enums(files)]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    text = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        sys.exit(f"{PAGE.relative_to(ROOT)} is not what the proto files say: run make api")


main()

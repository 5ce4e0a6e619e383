"""The server's own document of its API, held against botocore's model of the service."""

import re
from pathlib import Path

import pytest
import yaml
from botocore.loaders import Loader

from aws_model import (
    BY_NAME,
    EMPTY_ALLOWED,
    ENUM_OVERRIDES,
    PATTERN_OVERRIDES,
    REJECTIONS,
    SERVICE,
    UNDECLARED,
    fault_of,
    in_body,
    is_readonly,
    raw_shape,
    status_of,
    values_of,
)
from server import run

CHECKED_IN = Path(__file__).parents[2] / "openapi.yaml"
# Kept out of refusals, the log and the audit trail although the model does not ask for it: as long as the client likes.
ALSO_SENSITIVE = {"PublicKeyMaterial"}
TYPES = {"string": "string", "integer": "integer", "float": "number", "boolean": "boolean"}
BOUNDS = {
    "string": ("minLength", "maxLength"),
    "list": ("minItems", "maxItems"),
    "map": ("minProperties", "maxProperties"),
}


@pytest.fixture(scope="module")
def printed():
    return run("openapi").stdout


@pytest.fixture(scope="module")
def document(printed):
    return yaml.safe_load(printed)


@pytest.fixture(scope="module")
def schemas(document):
    return document["components"]["schemas"]


# The text of a fault is a plain string in the document.
INLINED = {"errorMessage"}
SHAPES = sorted(set(SERVICE.shape_names) - INLINED)


def reference(shape):
    return {"$ref": f"#/components/schemas/{shape.name}"}


def member_of(structure, name, member):
    """The schema of a member of a structure; that of some answers may be empty."""
    if (structure.name, name) in EMPTY_ALLOWED:
        return {"anyOf": [reference(member), {"type": "string", "maxLength": 0}]}
    return reference(member)


def expected(shape):
    """The schema of a shape, as the model has it."""
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    low, high = BOUNDS.get(shape.type_name, ("minimum", "maximum"))
    bounds = {key: bound for key, bound in ((low, least), (high, most)) if bound is not None}
    match shape.type_name:
        case "structure":
            members = {name: m for name, m in shape.members.items() if m.serialization.get("location") != "header"}
            required = [name for name in shape.required_members if name in members]
            properties = {name: member_of(shape, name, member) for name, member in members.items()}
            return {"type": "object", "properties": properties, **({"required": required} if required else {})}
        case "list":
            return {"type": "array", "items": reference(shape.member), **bounds}
        case "map":
            names = {"additionalProperties": reference(shape.value), "propertyNames": reference(shape.key)}
            return {"type": "object", **names, **bounds}
        case "timestamp":
            return {"type": "string", "format": "date-time"}
        case kind:
            pattern = PATTERN_OVERRIDES.get(shape.name) or raw_shape(shape.name).get("pattern")
            patterns = {"pattern": f"^(?:{pattern})$"} if pattern else {}
            values = {"enum": values_of(shape)} if kind == "string" and shape.enum else {}
            width = {"format": "int32"} if kind == "integer" else {}
            hidden = shape.metadata.get("sensitive") or shape.name in ALSO_SENSITIVE
            return {
                "type": TYPES[kind],
                **width,
                **bounds,
                **patterns,
                **values,
                **({"x-sensitive": True} if hidden else {}),
            }


def plain(node):
    """A part of the document without its prose."""
    if not isinstance(node, dict):
        return node
    return {key: plain(value) for key, value in node.items() if key != "description" or isinstance(value, dict)}


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_has_the_constraints_of_the_model(schemas, name):
    shape = SERVICE.shape_for(name)
    schema, model = plain(schemas[name]), expected(shape)
    if shape.metadata.get("exception"):
        texts = ["exceptionMessage", "message"]
        model = {"type": "object", "properties": {name: {"type": "string"} for name in texts}, "required": texts}
    if shape.type_name == "structure":
        assert sorted(schema.pop("required", [])) == sorted(model.pop("required", []))
        schema.setdefault("properties", {})
    assert schema == model


def test_the_only_shapes_that_the_model_has_not_are_the_refusals_of_the_protocol(schemas):
    # The seeds of the test API have shapes of their own.
    of_operations = {name for name in schemas if not name.startswith("Seed")}
    assert of_operations - set(SHAPES) == REJECTIONS.keys()


def test_the_only_patterns_that_differ_from_the_model_are_the_documented_ones(schemas):
    differing = {
        name
        for name in SERVICE.shape_names
        if (pattern := raw_shape(name).get("pattern")) and schemas[name]["pattern"] != f"^(?:{pattern})$"
    }
    assert differing == set(PATTERN_OVERRIDES)


def test_the_only_enumeration_that_differs_from_the_model_is_the_documented_one(schemas):
    shapes = [SERVICE.shape_for(name) for name in SHAPES]
    enumerations = {shape.name: shape.enum for shape in shapes if getattr(shape, "enum", None)}
    assert {name for name, values in enumerations.items() if schemas[name]["enum"] != values} == set(ENUM_OVERRIDES)


def operations(document):
    return {
        operation["operationId"]: (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        if not path.startswith(("/_greenroom/", "/whip/"))
        for method, operation in methods.items()
        if "operationId" in operation
    }


def test_there_are_the_forty_operations_of_the_model_and_no_others(document):
    assert len(BY_NAME) == 40
    assert operations(document).keys() == BY_NAME.keys()


def body_of(shape):
    """The schema of the members of a shape that travel in the body, where others travel elsewhere."""
    properties = {name: reference(member) for name, member in in_body(shape).items()}
    required = [name for name in shape.required_members if name in properties]
    return {"type": "object", "properties": properties, "required": required}


@pytest.mark.parametrize("name", BY_NAME)
def test_every_operation_has_the_method_path_and_shapes_of_the_model(document, name):
    model = BY_NAME[name]
    method, path, operation = operations(document)[name]
    assert (method, path) == (model.http["method"], model.http["requestUri"])
    if in_body(model.input_shape):
        content = operation["requestBody"]["content"]
        assert content.keys() == {"application/json"}
        schema = plain(content["application/json"]["schema"])
        whole = in_body(model.input_shape) == model.input_shape.members
        assert schema == (reference(model.input_shape) if whole else body_of(model.input_shape))
    answer = operation["responses"]["200"]["content"]
    assert answer["application/json"]["schema"] == reference(model.output_shape)


@pytest.mark.parametrize("name", BY_NAME)
def test_every_operation_declares_the_faults_of_the_model_by_their_status(document, name):
    model = BY_NAME[name]
    operation = operations(document)[name][2]
    assert sorted(operation["x-aws-faults"]) == sorted(fault.name for fault in model.error_shapes)
    declared = {fault.name: status_of(fault) for fault in model.error_shapes}
    faults = {**UNDECLARED, "InternalServerException": 500, **declared}
    by_status = {}
    for fault, status in faults.items():
        by_status.setdefault(str(status), set()).add(f"#/components/schemas/{fault}")
    found = {status: references(response) for status, response in operation["responses"].items() if status != "200"}
    assert found == by_status


@pytest.mark.parametrize("name", BY_NAME)
def test_every_operation_changes_something_unless_the_model_says_that_it_does_not(document, name):
    assert operations(document)[name][2]["x-aws-readonly"] == is_readonly(BY_NAME[name])


def references(node):
    """Every schema that a part of the document refers to."""
    if isinstance(node, dict):
        return {node["$ref"]} if "$ref" in node else set().union(*map(references, node.values()), set())
    return set().union(*map(references, node), set()) if isinstance(node, list) else set()


@pytest.mark.parametrize("name", [name for name, model in BY_NAME.items() if "{" in model.http["requestUri"]])
def test_what_travels_in_path_and_query_is_a_required_parameter(document, name):
    model = BY_NAME[name]
    _, path, operation = operations(document)[name]
    parameters = [*document["paths"][path].get("parameters", []), *operation.get("parameters", [])]
    found = {p["name"]: (p["in"], p["required"], p["schema"]) for p in parameters}
    places = {"uri": "path", "querystring": "query"}
    assert found == {
        member.serialization["name"]: (places[member.serialization["location"]], True, reference(member))
        for member in model.input_shape.members.values()
        if "location" in member.serialization
    }


def test_every_operation_says_in_words_what_it_does(document):
    for name, (_, _, operation) in operations(document).items():
        assert operation.get("summary") or operation.get("description"), name


def sentences(node):
    """Every longer sentence of the model's prose, without its markup."""
    if isinstance(node, list):
        return set().union(*map(sentences, node))
    if not isinstance(node, dict):
        return set()
    prose = re.sub(r"<[^>]+>", "", node["documentation"]) if isinstance(node.get("documentation"), str) else ""
    found = {sentence.strip() for sentence in prose.split(". ")}
    return {sentence for sentence in found if len(sentence) > 40}.union(*map(sentences, node.values()))


def test_the_texts_of_the_document_are_not_those_of_the_model(printed):
    theirs = sentences(Loader().load_service_model("ivs-realtime", "service-2"))
    assert len(theirs) > 100
    assert {sentence for sentence in theirs if sentence.rstrip(".") in " ".join(printed.split())} == set()


def test_every_reference_of_the_document_leads_somewhere(document):
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    others = {f"#/components/{kind}/{name}" for kind, parts in document["components"].items() for name in parts}
    assert references(document) <= known | others


def test_the_checked_in_document_is_what_the_program_prints(printed):
    assert CHECKED_IN.read_text() == printed, "openapi.yaml is stale: write the output of `greenroom openapi` to it"


def test_no_fault_is_unknown_to_the_model(document):
    for name, (_, _, operation) in operations(document).items():
        assert all(fault_of(BY_NAME[name], fault) for fault in operation["x-aws-faults"])

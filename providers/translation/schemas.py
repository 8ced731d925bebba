"""JSON Schemas of tools and structured output, in the form an upstream accepts."""

from typing import Any

import orjson

from providers import wire_json
from providers.translation.validation import InvalidRequest

_MAX_DEPTH = 64  # deeper schemas are refused: no model follows them, and encoders give up at 254 levels
_MAX_CHAIN = 10  # references inside references
_MAX_REFERENCES = 500  # definitions that name each other twice would grow without bound
_IDENTITY = ("$schema", "$id")
_MAPS_OF_SCHEMAS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTS_OF_SCHEMAS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SCHEMAS = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
# Gemini's OpenAI route answers 400 to these.
_GEMINI_REFUSES = (
    "additionalProperties",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "propertyNames",
    "patternProperties",
)


# Asks in words for JSON where no parameter does.
WISH_FOR_JSON = "Answer with one JSON object and nothing else."


def wish_for_schema(schema: Any) -> str:
    """Return in words what structured output with `schema` asks for."""
    return f"{WISH_FOR_JSON} It must match this JSON Schema:\n{wire_json.encode(schema).decode()}"


def object_schema(schema: Any, sanitizer: str, path: str) -> dict[str, Any]:
    """Return a tool's `input_schema` as an object schema; the argument is not changed.

    Every schema of Claude Code carries `$schema`, which some platforms refuse. Raises `InvalidRequest` for a schema
    nested over 64 levels; `path` names it.
    """
    if not isinstance(schema, dict) or not schema:
        return {"type": "object", "properties": {}}
    cleaned = {key: value for key, value in schema.items() if key not in _IDENTITY}
    if cleaned.get("type") != "object":
        cleaned["type"] = "object"
    if not isinstance(cleaned.get("properties"), dict):
        cleaned["properties"] = {}
    return _clean(cleaned, sanitizer, path)


def output_schema(schema: dict[str, Any], sanitizer: str, path: str) -> dict[str, Any]:
    """Return the schema of structured output without what platforms refuse. Raises as `object_schema`."""
    return _clean({key: value for key, value in schema.items() if key not in _IDENTITY}, sanitizer, path)


def qualifies_for_strict(schema: Any, depth: int = 0) -> bool:
    """Say whether OpenAI takes the schema with `strict`: all objects closed, all their properties required."""
    if depth > _MAX_DEPTH:
        return False
    if not isinstance(schema, dict):
        return not isinstance(schema, bool)
    properties = schema.get("properties")
    if schema.get("type") == "object" or properties is not None:
        if schema.get("additionalProperties") is not False or not isinstance(properties, dict):
            return False
        required = schema.get("required")
        if not isinstance(required, list) or any(name not in required for name in properties):
            return False
    return all(qualifies_for_strict(child, depth + 1) for child in _children(schema))


def _children(schema: dict[str, Any]) -> list[Any]:
    children: list[Any] = []
    for key in _MAPS_OF_SCHEMAS:
        if isinstance(schema.get(key), dict):
            children.extend(schema[key].values())
    for key in _LISTS_OF_SCHEMAS:
        if isinstance(schema.get(key), list):
            children.extend(schema[key])
    if isinstance(schema.get("items"), dict):
        children.append(schema["items"])
    return children


def _clean(schema: dict[str, Any], sanitizer: str, path: str) -> dict[str, Any]:
    if sanitizer == "none":
        # The usual schema holds nothing to remove below its root: encoding it to look costs microseconds, walking
        # it in Python a hundred times that.
        try:
            encoded = orjson.dumps(schema)
        except TypeError:  # over 254 levels, lone surrogates, integers over 64 bits
            encoded = b'"$id"'
        if b'"$schema"' not in encoded and b'"$id"' not in encoded:
            return schema
    definitions = {key: schema.get(key) for key in ("$defs", "definitions")}
    cleaned = _Cleaner(sanitizer, definitions, path).schema(schema, 0, ())
    return cleaned if isinstance(cleaned, dict) else schema


class _Cleaner:
    """A walk that knows which keys hold schemas, so a property named `$id` or `format` stays."""

    def __init__(self, sanitizer: str, definitions: dict[str, Any], path: str) -> None:
        self._sanitizer = sanitizer
        self._definitions = definitions
        self._path = path
        self._references_left = _MAX_REFERENCES

    def schema(self, schema: Any, depth: int, seen: tuple[str, ...]) -> Any:
        if depth > _MAX_DEPTH:
            raise InvalidRequest(f"{self._path}: nested too deeply")
        if not isinstance(schema, dict):
            self._check_depth(schema, depth)
            return schema
        if self._sanitizer == "llama" and isinstance(schema.get("$ref"), str):
            return self._resolve(schema, depth, seen)
        cleaned: dict[str, Any] = {}
        for key, value in schema.items():
            if key in _IDENTITY or self._drops(key, value):
                continue
            if key in _MAPS_OF_SCHEMAS and isinstance(value, dict):
                if self._sanitizer == "llama" and key in ("$defs", "definitions"):
                    continue  # each reference is replaced by what it names
                cleaned[key] = {name: self.schema(child, depth + 1, seen) for name, child in value.items()}
            elif key in _LISTS_OF_SCHEMAS and isinstance(value, list):
                cleaned[key] = [self.schema(child, depth + 1, seen) for child in value]
            elif key in _SCHEMAS:
                cleaned[key] = self.schema(value, depth + 1, seen)
            else:
                self._check_depth(value, depth)
                cleaned[key] = value
        if self._sanitizer == "gemini":
            _for_gemini(cleaned)
        return cleaned

    def _drops(self, key: str, value: Any) -> bool:
        if self._sanitizer == "gemini":
            return key in _GEMINI_REFUSES or (key == "format" and value not in ("enum", "date-time"))
        if self._sanitizer == "llama" and key == "pattern":
            # llama.cpp turns patterns into a grammar: it wants them anchored and knows no look-around, no classes.
            anchored = isinstance(value, str) and value.startswith("^") and value.endswith("$")
            return not anchored or "(?" in value or "\\" in value
        return False

    def _resolve(self, schema: dict[str, Any], depth: int, seen: tuple[str, ...]) -> Any:
        """Return what a local reference names; an object of any form where that cannot be written out."""
        reference = schema["$ref"]
        keyword, _, name = reference.removeprefix("#/").partition("/")
        definitions = self._definitions.get(keyword)
        target = definitions.get(name) if isinstance(definitions, dict) else None
        self._references_left -= 1
        is_spent = self._references_left < 0 or len(seen) >= _MAX_CHAIN
        if not isinstance(target, dict) or reference in seen or is_spent:
            return {"type": "object"}
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return self.schema({**target, **beside}, depth + 1, (*seen, reference))

    def _check_depth(self, value: Any, depth: int) -> None:
        """Refuse plain data (an enum, a default) that no encoder takes."""
        pending = [(value, depth)]
        while pending:
            item, level = pending.pop()
            if level > _MAX_DEPTH:
                raise InvalidRequest(f"{self._path}: nested too deeply")
            if isinstance(item, dict):
                pending.extend((child, level + 1) for child in item.values())
            elif isinstance(item, list):
                pending.extend((child, level + 1) for child in item)


def _for_gemini(schema: dict[str, Any]) -> None:
    """Rewrite what Gemini writes in another way: one type and `nullable`, an enum of one for `const`."""
    kinds = schema.get("type")
    if isinstance(kinds, list):
        named = [kind for kind in kinds if kind != "null"]
        schema["type"] = named[0] if named else "string"
        if len(named) < len(kinds):
            schema["nullable"] = True
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]

"""What the OpenAPI document says about each route: of the bodies only what the gateway itself checks.

Everything else in a body is the platform's to take or refuse, and new fields of clients must pass: hence no
`additionalProperties: false` anywhere.
"""

from typing import Any

from ninja import NinjaAPI

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string", "minLength": 1}
_NUMBER: Schema = {"type": "integer", "minimum": 1}
_ANY_OBJECT: Schema = {"type": "object"}
_MOMENT: Schema = {"type": "string", "format": "date-time"}
# A decimal: no JSON reader may round money.
_AMOUNT: Schema = {"type": "string", "pattern": r"^\d+(\.\d+)?$"}


def _object(required: list[str], **properties: Any) -> Schema:
    return {"type": "object", "required": required, "properties": properties}


def _array(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def _optional(*schemas: Schema) -> Schema:
    return {"anyOf": [*schemas, {"type": "null"}]}


_BLOCK: Schema = {
    "anyOf": [
        _object(["type", "id", "name"], type={"const": "tool_use"}, id=_TEXT, name=_TEXT),
        _object(["type", "tool_use_id"], type={"const": "tool_result"}, tool_use_id=_TEXT),
        _object(["type"], type={**_TEXT, "not": {"enum": ["tool_use", "tool_result"]}}),
    ]
}
_MESSAGE = _object(
    ["role", "content"],
    role={"enum": ["user", "assistant", "system"]},
    content=_optional({"type": "string"}, _array(_BLOCK)),
)
_COUNTED: Schema = {
    "model": _TEXT,
    "messages": _array({"$ref": "#/components/schemas/Message"}, minItems=1),
}
_CHECKED_PARTS = ["text", "input_text", "output_text", "refusal", "image_url", "file"]
_PART: Schema = {
    "anyOf": [
        _object(["type", "text"], type={"const": "text"}, text={"type": "string"}),
        _object(
            ["type", "image_url"],
            type={"const": "image_url"},
            image_url={"anyOf": [_TEXT, _object(["url"], url=_TEXT)]},
        ),
        _object(["type"], type={**_TEXT, "not": {"enum": _CHECKED_PARTS}}),
    ]
}
_CONTENT: Schema = {"anyOf": [{"type": "string"}, _array(_PART)]}
_CALL = _object(["id", "function"], id=_TEXT, type={"const": "function"}, function=_object(["name"], name=_TEXT))
_CHAT_MESSAGE: Schema = {
    "anyOf": [
        _object(["role", "content"], role={"enum": ["system", "developer", "user"]}, content=_CONTENT),
        _object(
            ["role"], role={"const": "assistant"}, content=_optional(_CONTENT), tool_calls=_optional(_array(_CALL))
        ),
        _object(["role", "tool_call_id"], role={"const": "tool"}, tool_call_id=_TEXT, content=_optional(_CONTENT)),
    ]
}
_CHAT_TOOL: Schema = {
    "anyOf": [
        _object(
            ["function"],
            type={"const": "function"},
            function=_object(["name"], name=_TEXT, parameters=_optional(_ANY_OBJECT)),
        ),
        _object(["type", "custom"], type={"const": "custom"}, custom=_object(["name"], name=_TEXT)),
        _object(["type"], type={"type": "string", "not": {"enum": ["function", "custom"]}}),
    ]
}
_RESPONSES_PART: Schema = {
    "anyOf": [
        _object(["type", "text"], type={"enum": ["input_text", "output_text"]}, text={"type": "string"}),
        _object(["type", "refusal"], type={"const": "refusal"}, refusal={"type": "string"}),
        _object(["type", "image_url"], type={"const": "input_image"}, image_url=_TEXT),
        _object(
            ["type", "file_url"],
            type={"const": "input_file"},
            file_url={"type": "string", "pattern": "^https?://"},
            file_data={"type": "null"},
        ),
        _object(["type", "file_data"], type={"const": "input_file"}, file_data={**_TEXT, "format": "byte"}),
    ]
}
_RESPONSES_CONTENT: Schema = {"anyOf": [{"type": "string"}, _array(_RESPONSES_PART)]}
_CALLS = ["function_call", "custom_tool_call"]
_OUTPUTS = ["function_call_output", "custom_tool_call_output"]
_TYPED_CALLS = ["shell_call", "apply_patch_call", "local_shell_call", "tool_search_call"]
_TYPED_OUTPUTS = ["shell_call_output", "apply_patch_call_output", "local_shell_call_output", "tool_search_output"]
_NOT_STORED = ["item_reference", "compaction_trigger"]
_CHECKED_ITEMS = ["message", *_CALLS, *_OUTPUTS, *_TYPED_CALLS, *_TYPED_OUTPUTS, *_NOT_STORED]
_RESPONSES_ITEM: Schema = {
    "anyOf": [
        _object(
            ["role"],
            type={"enum": ["message", None]},
            role={"enum": ["system", "developer", "user", "assistant"]},
            content=_optional(_RESPONSES_CONTENT),
        ),
        _object(["type", "call_id", "name"], type={"enum": _CALLS}, call_id=_TEXT, name=_TEXT),
        _object(["type", "call_id"], type={"enum": _OUTPUTS}, call_id=_TEXT, output=_optional(_RESPONSES_CONTENT)),
        _object(["type", "call_id"], type={"enum": [*_TYPED_CALLS, *_TYPED_OUTPUTS]}, call_id=_TEXT),
        _object(["type"], type={**_TEXT, "not": {"enum": _CHECKED_ITEMS}}),
    ]
}
_SCHEMAS: dict[str, Schema] = {
    "Message": _MESSAGE,
    "MessagesRequest": _object(
        ["model", "max_tokens", "messages"],
        **_COUNTED,
        max_tokens={"type": "integer", "minimum": 0},
    ),
    "CountTokensRequest": _object(["model", "messages"], **_COUNTED),
    "MessagesAnswer": _object(["id", "type", "role", "content", "model", "usage"], content=_array(_ANY_OBJECT)),
    "ChatMessage": _CHAT_MESSAGE,
    "ChatRequest": _object(
        ["model", "messages"],
        model=_TEXT,
        messages=_array({"$ref": "#/components/schemas/ChatMessage"}, minItems=1),
        max_tokens=_optional(_NUMBER),
        max_completion_tokens=_optional(_NUMBER),
        temperature=_optional({"type": "number", "minimum": 0, "maximum": 2}),
        top_p=_optional({"type": "number", "minimum": 0, "maximum": 1}),
        stop=_optional({"type": "string"}, _array({"type": "string"})),
        stream=_optional({"type": "boolean"}),
        tools=_optional(_array(_CHAT_TOOL)),
    ),
    "ChatAnswer": _object(["id", "object", "choices"], choices=_array(_ANY_OBJECT, minItems=1)),
    "ResponsesItem": _RESPONSES_ITEM,
    "ResponsesRequest": _object(
        ["model", "input"],
        model=_TEXT,
        input={
            "anyOf": [{"type": "string"}, _array({"$ref": "#/components/schemas/ResponsesItem"}, minItems=1)],
        },
        instructions=_optional({"type": "string"}),
        max_output_tokens=_optional(_NUMBER),
        temperature=_optional({"type": "number", "minimum": 0, "maximum": 2}),
        top_p=_optional({"type": "number", "minimum": 0, "maximum": 1}),
        reasoning=_optional(
            _object([], effort={"enum": ["none", "minimal", "low", "medium", "high", "xhigh", "max", None]})
        ),
        stream=_optional({"type": "boolean"}),
        tools=_optional(_array({})),
        background={"enum": [False, None]},
        # Nothing is stored here.
        previous_response_id={"type": "null"},
        conversation={"type": "null"},
        prompt={"type": "null"},
    ),
    "ResponsesAnswer": _object(["id", "object", "status", "output"], output=_array(_ANY_OBJECT)),
    "ModelList": _object(["data"], data=_array({"$ref": "#/components/schemas/Model"})),
    "Model": _object(["id"], id=_TEXT),
    "Me": _object(
        ["key", "user", "team", "policy", "allowed_models", "time_zone", "quotas"],
        key=_object(["name", "expires_at"], name=_TEXT, expires_at=_optional(_MOMENT)),
        user=_object(["name"], name=_TEXT),
        team=_optional(_object(["name"], name=_TEXT)),
        policy=_optional(_TEXT),
        allowed_models=_array(_TEXT, description="Empty: every model."),
        time_zone={**_TEXT, "description": "Days, weeks and months begin at midnight here."},
        quotas=_array({"$ref": "#/components/schemas/QuotaUse"}),
    ),
    "QuotaUse": _object(
        [
            *("subject", "unit", "window", "currency", "action", "limit", "raised", "used", "reserved"),
            *("used_percent", "state", "starts_at", "resets_at"),
        ],
        subject={**_TEXT, "description": "Whose quota it is: key, user or team, and the name."},
        unit={"enum": ["cost", "tokens", "requests"]},
        window={"enum": ["minute", "5h", "day", "week", "month", "total"]},
        currency=_optional(_TEXT),
        action={"enum": ["block", "warn", "downgrade"]},
        limit={**_AMOUNT, "description": "In force: with the temporary raises."},
        raised={**_AMOUNT, "description": "The part of the limit that temporary raises add."},
        used=_AMOUNT,
        reserved={**_AMOUNT, "description": "Held by calls that are running."},
        used_percent={"type": "integer", "minimum": 0},
        state={"enum": ["ok", "warning", "critical", "used_up"], "description": "warning: 75 %; critical: 95 %."},
        starts_at=_optional(_MOMENT),
        resets_at=_optional(_MOMENT),
    ),
    "AnthropicError": _object(
        ["type", "error"], type={"const": "error"}, error=_object(["type", "message"], type=_TEXT, message=_TEXT)
    ),
    "OpenAIError": _object(["error"], error=_object(["message", "type"], message={"type": "string"})),
}
_COMPONENTS: dict[str, Any] = {
    "schemas": _SCHEMAS,
    "securitySchemes": {
        "bearer": {"type": "http", "scheme": "bearer", "description": "A personal key of the gateway."},
        "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same key."},
    },
}
_SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"apiKey": []}]


class DocumentedAPI(NinjaAPI):
    """An API whose document has the components that the routes refer to."""

    def get_openapi_schema(self, **options: Any) -> Any:
        """Return the document."""
        schema = super().get_openapi_schema(**options)
        schema["components"] = _COMPONENTS
        return schema


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


_ANTHROPIC_ERROR = _json("AnthropicError")
_OPENAI_ERROR = _json("OpenAIError")
_EITHER_ERROR = {
    "application/json": {
        "schema": {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("AnthropicError", "OpenAIError")]}
    }
}
_FAULTS = {
    400: "The request is not valid, or the prompt is too long.",
    401: "The key is unknown, expired or revoked.",
    403: "The key may not use this model, or not from this address.",
    413: "The body exceeds 32 MiB.",
    429: "A quota is spent, or the platform's rate limit reached.",
    500: "A fault of the gateway.",
    502: "The platform failed.",
    503: "No target is configured or free, or the database does not answer.",
    504: "The platform did not answer in time.",
}


def _faults(error: dict[str, Any], *statuses: int) -> dict[int, Any]:
    return {status: {"description": _FAULTS[status], "content": error} for status in statuses or _FAULTS}


def _call(name: str, request: str, answer: str, error: dict[str, Any], *, streams: bool = True) -> dict[str, Any]:
    content = _json(answer)
    if streams:
        content["text/event-stream"] = {}
    return {
        "summary": name,
        "requestBody": {"required": True, "content": _json(request)},
        "responses": {200: {"description": "The answer.", "content": content}, **_faults(error)},
        "security": _SECURITY,
    }


MESSAGES = _call("Anthropic Messages", "MessagesRequest", "MessagesAnswer", _ANTHROPIC_ERROR)
MESSAGES["responses"][529] = {"description": "The platform is overloaded.", "content": _ANTHROPIC_ERROR}
CHAT_COMPLETIONS = _call("OpenAI Chat Completions", "ChatRequest", "ChatAnswer", _OPENAI_ERROR)
RESPONSES = _call("OpenAI Responses", "ResponsesRequest", "ResponsesAnswer", _OPENAI_ERROR)
COUNT_TOKENS: dict[str, Any] = {
    "summary": "Count the tokens of a prompt, by estimate",
    "requestBody": {"required": True, "content": _json("CountTokensRequest")},
    "responses": {
        200: {
            "description": "The count.",
            "content": {"application/json": {"schema": _object(["input_tokens"], input_tokens=_NUMBER)}},
        },
        **_faults(_ANTHROPIC_ERROR, 400, 401, 413, 503),
    },
    "security": _SECURITY,
}
MODELS: dict[str, Any] = {
    "summary": "List the models a key may ask for, in Anthropic's or OpenAI's shape",
    "parameters": [
        # What is no number from 1 to 1000 counts as 1000.
        {"name": "limit", "in": "query", "schema": {"type": "string"}},
        {"name": "after_id", "in": "query", "schema": {"type": "string"}},
        {"name": "before_id", "in": "query", "schema": {"type": "string"}},
        {"name": "anthropic-version", "in": "header", "schema": {"type": "string"}},
    ],
    "responses": {
        200: {"description": "The list.", "content": _json("ModelList")},
        **_faults(_EITHER_ERROR, 401, 503),
    },
    "security": _SECURITY,
}
MODEL: dict[str, Any] = {
    "summary": "One model",
    "parameters": [
        {"name": "model_id", "in": "path", "required": True, "schema": _TEXT},
        {"name": "anthropic-version", "in": "header", "schema": {"type": "string"}},
    ],
    "responses": {
        200: {"description": "The model.", "content": _json("Model")},
        404: {"description": "The key may ask for no such model.", "content": _EITHER_ERROR},
        **_faults(_EITHER_ERROR, 401, 503),
    },
    "security": _SECURITY,
}
ME: dict[str, Any] = {
    "summary": "The caller's key, and what is used of every quota that covers it",
    "responses": {
        200: {"description": "What is in force at this moment. Amounts are decimal strings.", "content": _json("Me")},
        **_faults(_EITHER_ERROR, 401, 503),
    },
    "security": _SECURITY,
}
HEALTHZ: dict[str, Any] = {
    "summary": "Whether the process lives",
    "responses": {200: {"description": "It does.", "content": {"text/plain": {"schema": {"type": "string"}}}}},
}
READYZ: dict[str, Any] = {
    "summary": "Whether the gateway can serve calls",
    "responses": {
        200: {"description": "It can.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        503: {
            "description": "The database does not answer.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
    },
}

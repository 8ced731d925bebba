"""Classification of upstream errors. Bodies are recorded shapes of the platforms named in each row."""

import json
from typing import Any

import pytest

from providers.errors import ErrorKind as K
from providers.errors import UpstreamError, classify, classify_payload, one_line


def error(message: str, **members: Any) -> dict[str, Any]:
    return {"error": {"message": message, **members}}


def ask(
    status: int, body: Any, *, kind: str = "openai_compatible", headers: dict[str, str] | None = None, **more: Any
) -> UpstreamError:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return classify(status, headers or {}, data, provider="main", kind=kind, **more)


ARREARS = "Access denied, please make sure your account is in good standing."
RAW = json.dumps({"error": {"message": "vendor boom", "code": "invalid_api_key"}})


@pytest.mark.parametrize(
    ("kind", "status", "body", "expected"),
    [
        # OpenAI
        ("openai_compatible", 400, error("parameter foo is wrong", type="invalid_request_error"), K.INVALID_REQUEST),
        ("openai_compatible", 401, error("Incorrect API key provided: sk-abc", code="invalid_api_key"), K.AUTH),
        ("openai_compatible", 404, error("The model `x` does not exist or you do not have access", code="model_not_found"), K.NOT_FOUND),
        ("openai_compatible", 404, b"", K.NOT_FOUND),
        ("openai_compatible", 413, error("too big"), K.INVALID_REQUEST),
        ("openai_compatible", 429, error("slow down", type="rate_limit_error"), K.RATE_LIMITED),
        ("openai_compatible", 429, error("Limit 30000 tokens, too many tokens per minute"), K.RATE_LIMITED),
        ("openai_compatible", 429, error("You exceeded your current quota", code="insufficient_quota"), K.INSUFFICIENT_FUNDS),
        ("openai_compatible", 500, error("internal explosion"), K.SERVER_ERROR),
        ("openai_compatible", 503, error("overloaded"), K.OVERLOADED),
        ("openai_compatible", 408, b"", K.TIMEOUT),
        ("openai_compatible", 400, error("filtered", code="content_filter"), K.CONTENT_FILTERED),
        ("openai_compatible", 400, error("x", innererror={}, code="ResponsibleAIPolicyViolation"), K.CONTENT_FILTERED),
        # 百炼
        ("dashscope", 400, error(ARREARS, code="Arrearage"), K.INSUFFICIENT_FUNDS),
        ("dashscope", 429, error("Allocated quota exceeded", code="insufficient_quota"), K.RATE_LIMITED),
        ("dashscope", 429, error("hour allocated quota exceeded"), K.RATE_LIMITED),
        ("dashscope", 429, {"code": "PostpaidBillOverdue", "message": "bill is overdue", "request_id": "r"}, K.INSUFFICIENT_FUNDS),
        ("dashscope", 403, error("free tier", code="AllocationQuota.FreeTierOnly"), K.INSUFFICIENT_FUNDS),
        ("dashscope", 403, error("Model access denied", code="Model.AccessDenied"), K.PERMISSION),
        ("dashscope", 403, error("invalid api-key"), K.AUTH),
        ("dashscope", 400, error("Model not exist."), K.NOT_FOUND),
        ("dashscope", 429, {"code": "Throttling.RateQuota", "message": "Requests rate limit exceeded"}, K.RATE_LIMITED),
        ("dashscope", 400, error("Input may contain inappropriate content.", code="data_inspection_failed"), K.CONTENT_FILTERED),
        ("dashscope", 500, {"code": "RequestTimeOut", "message": "Request timed out"}, K.TIMEOUT),
        ("dashscope", 500, {"code": "ModelServingError", "message": "throttled"}, K.OVERLOADED),
        ("dashscope", 500, error("Expecting ',' delimiter", code="InternalError.Algo"), K.SERVER_ERROR),
        # OpenRouter
        ("openrouter", 402, error("Insufficient credits", code=402), K.INSUFFICIENT_FUNDS),
        ("openrouter", 403, error("flagged", code=403, metadata={"reasons": ["violence"]}), K.CONTENT_FILTERED),
        ("openrouter", 403, error("limit", code=403), K.PERMISSION),
        ("openrouter", 404, error("No endpoints found that support tool use", code=404), K.UNSUPPORTED_FEATURE),
        ("openrouter", 404, error("No endpoints found for x", code=404), K.NOT_FOUND),
        ("openrouter", 400, {"error": {"message": "x", "code": 400, "availability": {"code": "model_not_found"}}}, K.NOT_FOUND),
        ("openrouter", 400, error("x", code=400, metadata={"error_type": "context_length_exceeded"}), K.CONTEXT_TOO_LONG),
        ("openrouter", 502, error("Provider returned error", code=502, metadata={"raw": "x"}), K.OVERLOADED),
        # SiliconFlow
        ("siliconflow", 400, {"code": 20012, "message": "Model does not exist.", "data": None}, K.NOT_FOUND),
        ("siliconflow", 401, b'"Invalid token"', K.AUTH),
        ("siliconflow", 403, {"code": 30001, "message": "Sorry, your account balance is insufficient"}, K.INSUFFICIENT_FUNDS),
        ("siliconflow", 403, {"code": 1, "message": "real-name verification required"}, K.PERMISSION),
        ("siliconflow", 429, {"message": "Request was rejected due to rate limiting", "data": None}, K.RATE_LIMITED),
        ("siliconflow", 503, {"code": 50505, "message": "busy"}, K.OVERLOADED),
        # Zhipu, Kimi, DeepSeek
        ("openai_compatible", 429, error("欠费", code="1113"), K.INSUFFICIENT_FUNDS),
        ("openai_compatible", 429, error("x", code="1302"), K.RATE_LIMITED),
        ("openai_compatible", 429, error("x", code="1308"), K.RATE_LIMITED),
        ("openai_compatible", 400, error("x", code="1261"), K.CONTEXT_TOO_LONG),
        ("openai_compatible", 429, error("x", type="exceeded_current_quota_error"), K.INSUFFICIENT_FUNDS),
        ("openai_compatible", 429, error("x", type="engine_overloaded_error"), K.OVERLOADED),
        ("openai_compatible", 402, error("Insufficient Balance"), K.INSUFFICIENT_FUNDS),
        # local servers
        ("ollama", 404, {"error": "model 'x' not found, try pulling it first"}, K.NOT_FOUND),
        ("ollama", 400, error("registry.ollama.ai/library/gemma does not support tools"), K.UNSUPPORTED_FEATURE),
        ("ollama", 500, {"error": "model requires more system memory"}, K.SERVER_ERROR),
        ("lmstudio", 400, {"error": "No models loaded. Please load a model"}, K.NOT_FOUND),
        ("openai_compatible", 503, error("Loading model", code=503, type="unavailable_error"), K.OVERLOADED),
        ("openai_compatible", 400, {"object": "error", "message": "bad", "type": "BadRequestError", "code": 400}, K.INVALID_REQUEST),
        ("openai_compatible", 422, {"detail": [{"loc": ["body", "messages"], "msg": "field required"}]}, K.INVALID_REQUEST),
        # Anthropic
        ("anthropic_compatible", 529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, K.OVERLOADED),
        ("anthropic_compatible", 400, error("Your credit balance is too low"), K.INSUFFICIENT_FUNDS),
        # what is no API at all
        ("openai_compatible", 502, b"<html><head><title>502 Bad Gateway</title></head></html>", K.OVERLOADED),
        ("openai_compatible", 301, b"", K.BAD_RESPONSE),
        ("openai_compatible", 400, b"[]", K.INVALID_REQUEST),
        ("openai_compatible", 400, b"null", K.INVALID_REQUEST),
        ("openai_compatible", 500, b"\xff\xfe", K.SERVER_ERROR),
    ],
)  # fmt: skip
def test_kind(kind: str, status: int, body: Any, expected: K) -> None:
    found = ask(status, body, kind=kind)
    assert found.kind == expected
    assert found.message
    assert found.provider == "main"


@pytest.mark.parametrize(
    ("status", "body", "prompt", "window"),
    [
        (400, error("This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.", code="context_length_exceeded"), 9000, 8192),
        (400, error("This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (1000 in the messages, 8000 in the completion)."), 1000, 8192),
        (400, error("maximum context length is 131072 tokens. However, you requested about 200000 tokens (190000 of text input, 2000 of tool input, 8000 in the output)"), 192000, 131072),
        (400, error("'max_tokens' or 'max_completion_tokens' is too large: 64000. This model's maximum context length is 8192 tokens and your request has 1000 input tokens (64000 > 8192 - 1000)."), 1000, 8192),
        (400, error("This model's maximum context length is 8,192 tokens. However, your messages resulted in 9,000 tokens"), 9000, 8192),
        (400, error("request (9001 tokens) exceeds the available context size (8192 tokens)", type="exceed_context_size_error", n_prompt_tokens=9001, n_ctx=8192), 9001, 8192),
        (500, error("request (9001 tokens) exceeds the available context size (8192 tokens), try increasing it"), 9001, 8192),
        (400, error("Range of input length should be [1, 98304]"), None, 98304),
        (400, {"error": "The number of tokens to keep from the initial prompt is greater than the context length (n_keep: 5000 >= n_ctx: 4096)"}, 5000, 4096),
        (400, error("prompt token count of 130000 exceeds the limit of 128000"), 130000, 128000),
        (400, error("prompt is too long: 210118 tokens > 200000 maximum"), 210118, 200000),
        (400, error("Your request exceeded model token limit : 262144"), None, 262144),
        (400, error("Input token length too long"), None, None),
        (429, error("Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 7000"), 7000, 6000),
        (413, error("Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 7000"), 7000, 6000),
    ],
)  # fmt: skip
def test_overflow_with_its_numbers(status: int, body: Any, prompt: int | None, window: int | None) -> None:
    found = ask(status, body)
    assert (found.kind, found.prompt_tokens, found.context_window) == (K.CONTEXT_TOO_LONG, prompt, window)


@pytest.mark.parametrize(
    ("status", "body", "feature", "limit"),
    [
        (400, error("Unknown parameter: 'stream_options'."), "stream_options", None),
        (400, error("Range of max_tokens should be [1, 8192]"), "max_tokens", 8192),
        (400, error("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]"), "max_tokens", 8192),
        (400, error("max_tokens is too large: 128000. This model supports at most 16384 completion tokens, whereas you provided 128000."), "max_tokens", 16384),
        (400, error("`max_tokens` must be less than or equal to `32768`, the maximum value"), "max_tokens", 32768),
        (400, error("max_tokens: 128000 > 64000, which is the maximum allowed number of output tokens"), "max_tokens", 64000),
        (400, error("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."), "max_tokens_field", None),
        (400, error("Unrecognized request argument supplied: max_completion_tokens"), "max_completion_tokens_field", None),
        (400, error("Unsupported value: 'temperature' does not support 0.2 with this model.", param="temperature"), "sampling", None),
        (400, error("wrong", param="top_p"), "sampling", None),
        (400, error('tool_choice is one of the strings that should be ["none","auto"]'), "tool_choice", None),
        (400, error("parameter.enable_thinking must be set to false for non-streaming calls"), "stream_only", None),
        (400, error("This model only support stream mode, please enable the stream parameter to access the model. "), "stream_only", None),
        (400, error("Unrecognized request argument supplied: reasoning_effort"), "thinking", None),
        (400, error("response_format type json_schema is unavailable now"), "response_format", None),
        (400, error("<400> InternalError.Algo.InvalidParameter: Json mode response is not supported when enable_thinking is true"), "response_format", None),
        (400, error("top_k is not supported"), "top_k", None),
        (422, {"detail": [{"loc": ["body", "parallel_tool_calls"], "msg": "Extra inputs are not permitted"}]}, "parallel_tool_calls", None),
        (400, error("System message must be at the beginning."), "system", None),
        (400, error("Invalid value for 'content': expected a string, got null."), "null_content", None),
        (400, error("The `reasoning_content` in the thinking mode must be passed back to the API."), "reasoning_missing", None),
        (400, error("reasoning_content is not allowed in the input messages"), "reasoning_refused", None),
        (400, error("this model does not support tools"), "tools", None),
        (400, error("x is not a multimodal model", param="image_url"), "vision", None),
    ],
)  # fmt: skip
def test_refused_parameter(status: int, body: Any, feature: str, limit: int | None) -> None:
    found = ask(status, body)
    assert (found.feature, found.feature_limit) == (feature, limit)
    assert (found.kind == K.UNSUPPORTED_FEATURE) == bool(feature)


@pytest.mark.parametrize(
    ("payload", "expected", "status"),
    [
        (error("Provider returned error", code=502), K.OVERLOADED, 502),
        ({"code": 429, "message": "x"}, K.RATE_LIMITED, 429),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, K.OVERLOADED, 529),
        ({"type": "error", "error": {"type": "invalid_request_error", "message": "x"}}, K.INVALID_REQUEST, 400),
        (error("gone", code="model_not_found"), K.NOT_FOUND, 200),
        (error("request (9 tokens) exceeds the available context size (8 tokens)", code=400), K.CONTEXT_TOO_LONG, 400),
        ({"error": "model requires more memory"}, K.SERVER_ERROR, 200),
        ("text", K.SERVER_ERROR, 200),
        ({"error": None}, K.SERVER_ERROR, 200),
        ({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, K.INSUFFICIENT_FUNDS, 402),
        ({"base_resp": {"status_code": 1002, "status_msg": "rate"}}, K.RATE_LIMITED, 429),
    ],
)  # fmt: skip
def test_error_object_under_a_success(payload: Any, expected: K, status: int) -> None:
    found = classify_payload(payload, provider="main", kind="openai_compatible")
    assert (found.kind, found.status) == (expected, status)
    assert found.message


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"Retry-After": "7"}, b"", 7.0),
        ({"retry-after": "1.5"}, b"", 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, b"", 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:20:00 GMT"}, b"", 200.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, b"", 0.0),
        ({"retry-after": "soon"}, b"", None),
        ({"retry-after": "nan"}, b"", None),
        ({}, error("x", availability={"retry_after": 12}), 12.0),
        ({}, error("Please try again in 4.2s."), 4.2),
        ({}, error("Please try again in 1m30s."), 90.0),
        ({}, error("Please try again in 120ms."), 0.12),
    ],
)
def test_retry_after(headers: dict[str, str], body: Any, seconds: float | None) -> None:
    assert ask(429, body, headers=headers, now=lambda: 1000.0).retry_after_s == seconds


def test_payment_required_with_retry_after_is_a_rate() -> None:
    assert ask(402, error("calls in flight"), headers={"retry-after": "2"}).kind == K.RATE_LIMITED


def test_message_is_one_line_without_secrets_and_short() -> None:
    text = f"Bad key own-credential-1 or sk-proj-abcdef0123\n\x00Bearer abc.def.ghi.jkl {'x' * 900}"
    found = ask(400, error(text), secret="own-credential-1")
    assert "own-credential" not in found.message
    assert "abcdef0123" not in found.message
    assert "abc.def" not in found.message
    assert found.message.isprintable()
    assert len(found.message) == 500


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<!DOCTYPE html><html><head><title>502 Bad\n Gateway &amp; co</title></head><body><h1>nginx</h1>", "502 Bad Gateway & co"),
        (b"<html><body>no title</body></html>", "HTTP 502 with an HTML page instead of an answer"),
        (b"  upstream   connect error ", "upstream connect error"),
        (b"", "HTTP 502 without an explanation"),
        (error("Provider returned error", metadata={"raw": RAW}), "Provider returned error: vendor boom"),
        (error("Provider returned error", metadata={"raw": "plain"}), "Provider returned error: plain"),
        ({"error": [{"message": "in a list"}]}, "in a list"),
        ([{"error": {"message": "listed"}}], "listed"),
        ({"detail": "not found here"}, "not found here"),
        ({"detail": [{"loc": ["body", "a", 0], "msg": "bad"}]}, "a.0: bad"),
        (b'event: error\ndata: {"error": {"message": "as a stream"}}\n\n', "as a stream"),
    ],
)  # fmt: skip
def test_message_of_every_body_shape(body: Any, message: str) -> None:
    assert ask(502, body).message == message


def test_code_inside_openrouters_raw_body_counts() -> None:
    assert ask(400, error("Provider returned error", metadata={"raw": RAW})).kind == K.AUTH


def test_request_id_from_header_or_body() -> None:
    assert ask(500, b"", headers={"X-Request-Id": "r1"}).request_id == "r1"
    assert ask(500, {"code": "x", "message": "y", "request_id": "r2"}).request_id == "r2"


@pytest.mark.parametrize(
    ("found", "seconds", "scope"),
    [
        (ask(401, b""), 600, "credential"),
        (ask(402, b""), 1800, "credential"),
        (ask(404, b""), 600, "model"),
        (ask(429, b""), 20, "model"),
        (ask(429, b"", headers={"retry-after": "3"}), 3, "model"),
        (ask(429, b"", headers={"retry-after": "999999"}), 3600, "model"),
        (ask(429, error("x", code="1308")), 900, "model"),
        (ask(503, b""), 30, "model"),
        (ask(400, b""), 0, "model"),
        (ask(400, error("x", code="context_length_exceeded")), 0, "model"),
        (ask(400, error("x", code="content_filter")), 0, "model"),
    ],
)
def test_cooldown(found: UpstreamError, seconds: float, scope: str) -> None:
    assert (found.cooldown_s, found.kind.cooldown_scope) == (seconds, scope)


@pytest.mark.parametrize("kind", list(K))
def test_every_kind_may_fall_back(kind: K) -> None:
    assert UpstreamError(kind, "x").may_fall_back


@pytest.mark.parametrize("depth", [10, 900])
def test_deeply_nested_body_is_survived(depth: int) -> None:
    assert ask(500, b'{"error":' * depth + b'"x"' + b"}" * depth).kind == K.SERVER_ERROR


def test_one_line_keeps_what_is_not_secret() -> None:
    assert one_line("task-force risk-free  ask-me") == "task-force risk-free ask-me"

"""The words and codes by which platforms say what went wrong. Data for `providers.errors.classify`.

Sources: the error pages of 百炼 (Model Studio), OpenRouter, SiliconFlow, OpenAI, DeepSeek, Kimi, Zhipu, Ollama,
LM Studio, llama.cpp, vLLM and Anthropic, read 2026-05 to 2026-11, and bodies recorded in their bug trackers.
All patterns are matched against lower-cased text, codes against the lower-cased code or type.
"""

import re

CONTEXT_CODES = frozenset(
    {"context_length_exceeded", "exceed_context_size_error", "1261", "model_context_window_exceeded"}
)
CONTEXT_TEXT = re.compile(
    r"prompt is too long|input is too long|maximum context length|range of input length|input token length too long"
    r"|exceeds? the (?:available |model'?s )?context|exceeds? context (?:window|limit|length)"
    r"|n_keep|context the overflows|longer than the (?:model'?s context|maximum model length)"
    r"|exceeded model token limit|exceeds the maximum number of tokens|prompt token count|requested token count exceeds"
    r"|reduce the length of the (?:messages|prompt)|input length and .max_tokens. exceed|too many (?:input )?tokens"
    r"|(?:input|prompt|token).{0,40}exceeds? .{0,30}token limit|token limit exceeded|model'?s token limit"
    r"|request too large"
)
# With 429 all but this is a rate: tokens per minute are also "too many tokens".
CONTEXT_TEXT_429 = re.compile(r"request too large")

CONTENT_CODES = frozenset(
    {
        "data_inspection_failed",
        "datainspectionfailed",
        "content_filter",
        "1301",
        "content_policy_violation",
        "refusal",
        "responsibleaipolicyviolation",
        "moderation",
    }
)
CONTENT_TEXT = re.compile(
    r"inappropriate content|considered high risk|content management policy|flagged by|content policy"
)

MONEY_CODES = frozenset(
    {
        "arrearage",
        "prepaidbilloverdue",
        "postpaidbilloverdue",
        "commoditynotpurchased",
        "1113",
        "30001",
        "insufficient_balance",
        "exceeded_current_quota_error",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "allocationquota.freetieronly",
        "payment_required",
        "billing_error",
        "billing_hard_limit_reached",
        "billing_not_active",
    }
)
# Money at OpenAI and its look-alikes; tokens per minute at 百炼.
MONEY_UNLESS_DASHSCOPE = frozenset({"insufficient_quota"})
MONEY_TEXT = re.compile(
    r"good standing|insufficient (?:account )?(?:balance|credits?|funds)|balance is (?:too low|not enough|insufficient)"
    r"|balance not enough|not enough (?:balance|credits?)|余额|欠费|credit balance|quota exhausted|bill is overdue"
    r"|free tier of the model has been exhausted"
)

AUTH_CODES = frozenset(
    {
        "invalid_api_key",
        "invalidapikey",
        "incorrect_api_key",
        "incorrect_api_key_error",
        "invalid_authentication_error",
        "authentication_error",
        "authentication",
        "1000",
        "1001",
        "1002",
        "1003",
        "1004",
        "1005",
    }
)
AUTH_TEXT = re.compile(r"invalid api.?key|api.?key (?:is )?(?:not valid|invalid)|incorrect api key|^invalid token")

PERMISSION_CODES = frozenset(
    {
        "accessdenied",
        "accessdenied.unpurchased",
        "model.accessdenied",
        "workspace.accessdenied",
        "permission_denied",
        "permission_error",
        "1220",
        "1311",
    }
)

NOT_FOUND_CODES = frozenset(
    {"model_not_found", "modelnotfound", "model_not_supported", "20012", "1211", "not_found_error"}
)
NOT_FOUND_TEXT = re.compile(
    r"model (?:does )?not exist|model.{0,120}does not exist|no models loaded|model .{0,120}not found|not a valid model"
    r"|unknown model"
)

RATE_CODES = frozenset(
    {
        "limit_requests",
        "limit_burst_rate",
        "rate_limit_error",
        "rate_limit_exceeded",
        "rate_limit_reached_error",
        "1302",
        "1303",
    }
)
# A subscription's hours, week or month are used up: minutes of waiting change nothing.
PLAN_CODES = frozenset({"1304", "1308", "1310"})
PLAN_TEXT = re.compile(r"(?:hour|week|month)\w* allocated quota")

OVERLOADED_CODES = frozenset(
    {
        "modelservingerror",
        "modelunavailable",
        "modelservicefailed",
        "engine_overloaded_error",
        "overloaded_error",
        "provider_overloaded",
        "provider_unavailable",
        "unavailable_error",
        "1305",
        "1312",
        "50505",
        "50508",
    }
)
OVERLOADED_STATUS = frozenset({498, 502, 503, 504, 520, 521, 522, 523, 524, 529})
OVERLOADED_TEXT = re.compile(r"due to system capacity|server (?:is )?busy|overloaded")
TIMEOUT_CODES = frozenset({"requesttimeout", "timeout", "timeout_error"})

# MiniMax's native status codes in `base_resp`, as the HTTP statuses they stand for.
MINIMAX_STATUS = {1000: 500, 1001: 504, 1002: 429, 1004: 401, 1008: 402, 1013: 500, 1039: 429, 2013: 400, 1027: 400}

# The statuses that Anthropic's, OpenAI's and OpenRouter's error types stand for: in a 200 answer they are all there is.
TYPE_STATUS = {
    "invalid_request_error": 400,
    "invalid_request": 400,
    "authentication_error": 401,
    "authentication": 401,
    "billing_error": 402,
    "payment_required": 402,
    "permission_error": 403,
    "permission_denied": 403,
    "not_found_error": 404,
    "not_found": 404,
    "timeout": 408,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "api_error": 500,
    "server_error": 500,
    "internal_error": 500,
    "internal_server_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
    "provider_overloaded": 503,
    "provider_unavailable": 502,
}

# (feature, pattern over the message). The client that repairs a call knows what each feature's name means.
_REFUSED = (
    r"(?:un(?:support|recogni|known|expected|available)|not (?:support|allow|permit|a valid|valid|available|accept)"
    r"|(?:does|do|did)(?: not|n't) support|only support|extra (?:field|input)|invalid|should be|must be|cannot be"
    r"|can't be|restricted to|incompatible|deprecated|too large|no longer)"
)


def _refusal(names: str) -> re.Pattern[str]:
    """Match a message that names a parameter and says that it is refused, in either order."""
    return re.compile(rf"(?:{names})[^\n]{{0,200}}{_REFUSED}|{_REFUSED}[^\n]{{0,200}}(?:{names})")


FEATURES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("stream_options", re.compile(r"stream_options|include_usage")),
    # DashScope: "This model only support stream mode, please enable the stream parameter to access the model", and
    # "parameter.enable_thinking must be set to false for non-streaming calls". Others: "Stream must be set to true".
    (
        "stream_only",
        re.compile(
            r"only supports? (?:the )?stream|non-?stream(?:ing)? (?:calls?|requests?|mode|output|responses?)"
            r"|(?:not|n't) support non-?stream|\bstream\b.{0,20}(?:must|should) be (?:set to )?true"
        ),
    ),
    (
        "max_tokens_field",
        re.compile(
            r"max_tokens.{0,80}(?:not supported|unsupported).{0,80}max_completion_tokens|use .?max_completion_tokens"
        ),
    ),
    (
        "max_completion_tokens_field",
        re.compile(r"(?:unknown|unrecognized|unsupported|unexpected|extra)[^\n]{0,80}max_completion_tokens"),
    ),
    (
        "max_tokens",
        re.compile(
            r"range of max_tokens|max(?:_completion)?_tokens.{0,80}(?:too large|too big|less than|at most|range|<=|≤"
            r"|which is the maximum|exceed|must be|should be|\[1, ?\d+\])"
        ),
    ),
    # DeepSeek and Kimi want the reasoning of a tool loop back; older reasoners refuse it.
    (
        "reasoning_missing",
        re.compile(
            r"reasoning_content.{0,80}(?:missing|must be|is required|passed back)|missing.{0,40}reasoning_content"
        ),
    ),
    ("reasoning_refused", _refusal("reasoning_content|reasoning_details")),
    ("parallel_tool_calls", _refusal("parallel_tool_calls")),
    ("tool_choice", _refusal(r"tool_choice|tool choice")),
    # DashScope: "Json mode response is not supported when enable_thinking is true". Thinking itself is not refused.
    ("response_format", re.compile(r"json mode response is not supported")),
    (
        "thinking",
        _refusal(
            r"enable_thinking|thinking_budget|reasoning_effort|reasoning\.effort|chat_template_kwargs|\breasoning\b|\bthinking\b"
        ),
    ),
    ("response_format", _refusal("response_format|json_schema|structured output")),
    ("top_k", _refusal(r"\btop_k\b")),
    ("sampling", _refusal(r"\btemperature\b|\btop_p\b")),
    ("stop", _refusal(r"\bstop\b(?! sign)")),
    (
        "user",
        _refusal(r"(?:field|parameter|argument|inputs?)\W+user\b|\buser\b\W+(?:field|parameter)|prompt_cache_key"),
    ),
    (
        "system",
        re.compile(
            r"role.{0,10}system|system.{0,10}role|system message.{0,60}(?:beginning|first|start)|n.t support system"
            r"|not support system|system messages? (?:is|are) not|developer role"
        ),
    ),
    (
        "null_content",
        re.compile(r"content.{0,60}(?:null|none is not|must not be empty|cannot be empty|is required|field required)"),
    ),
    # These cannot be repaired without harm: the next candidate may take them.
    (
        "tools",
        re.compile(
            r"(?:not|n't) support (?:tool|function)|support tool use|enable-auto-tool-choice|tools? (?:is|are) not supp"
        ),
    ),
    (
        "vision",
        re.compile(
            r"not a multimodal model|at most 0 image|not support image"
            r"|(?:image|vision|multimodal).{0,60}(?:not supp|n't supp|unsupp)"
        ),
    ),
)
# error.param or a body location that names a feature by itself.
FEATURE_PARAMS = {
    "stream_options": "stream_options",
    "parallel_tool_calls": "parallel_tool_calls",
    "tool_choice": "tool_choice",
    "response_format": "response_format",
    "enable_thinking": "thinking",
    "thinking_budget": "thinking",
    "thinking": "thinking",
    "reasoning": "thinking",
    "reasoning_effort": "thinking",
    "chat_template_kwargs": "thinking",
    "temperature": "sampling",
    "top_p": "sampling",
    "top_k": "top_k",
    "stop": "stop",
    "user": "user",
}

# Numbers in the text of an overflow; groups: prompt (tokens of the input), total (input and output), window, output.
OVERFLOW_NUMBERS = tuple(
    re.compile(pattern)
    for pattern in (
        # vLLM: the input is told apart from the requested output.
        r"maximum context length (?:is|of) (?P<window>\d+)\D+requested (?:about )?(?P<total>\d+) tokens "
        r"\((?P<prompt>\d+)[^,)]*(?:, (?P<tools>\d+) of tool input)?, ?(?P<output>\d+)",
        r"maximum context length is (?P<window>\d+) tokens and your request has (?P<prompt>\d+) input tokens",
        r"requested token count exceeds .* of (?P<window>\d+) tokens\. you requested a total of (?P<total>\d+) "
        r"tokens: (?P<prompt>\d+) tokens from the input messages and (?P<output>\d+)",
        r"maximum context length (?:is|of) (?P<window>\d+) tokens.{0,200}?"
        r"prompt contains (?:at least )?(?P<prompt>\d+)",
        r"maximum context length (?:is|of) (?P<window>\d+) tokens\W+however, you requested about (?P<total>\d+)",
        r"maximum context length (?:is|of) (?P<window>\d+)[^\d]+(?P<prompt>\d+)",
        r"maximum context length (?:is|of) (?P<window>\d+)",
        r"request \((?P<prompt>\d+) tokens\) exceeds the available context size \((?P<window>\d+)",
        r"range of input length should be \[1, ?(?P<window>\d+)\]",
        r"prompt token count of (?P<prompt>\d+) exceeds the limit of (?P<window>\d+)",
        r"prompt is too long: (?P<prompt>\d+) tokens > (?P<window>\d+)",
        r"input length and .max_tokens. exceed context limit: (?P<prompt>\d+) \+ (?P<output>\d+) > (?P<window>\d+)",
        r"n_keep: (?P<prompt>\d+) >= n_ctx: (?P<window>\d+)",
        r"n_ctx: (?P<window>\d+)",
        r"context size \((?P<window>\d+)",
        r"model token limit\D+(?P<window>\d+)",
        r"limit:? (?P<window>\d+), requested:? (?P<prompt>\d+)",
    )
)
# The largest max_tokens that a platform names when it refuses a larger one.
MAX_TOKENS_LIMIT = tuple(
    re.compile(pattern)
    for pattern in (
        r"\[1, ?(\d+)\]",
        r"supports? at most (\d+)",
        r"max(?:_completion)?_tokens.{0,10} \d+ > (\d+)",
        r"(?:less than or equal to|at most|<=|≤|no more than|maximum (?:value )?(?:is|of)|up to|not exceed)"
        r"\D{0,12}(\d+)",
        r"max(?:_completion)?_tokens\D{1,40}\(?\d+\)?\D{1,60}?(\d+)",
    )
)

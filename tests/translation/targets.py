"""The platforms and models that translation is tested for."""

from collections.abc import Sequence

from providers.presets import dialect_for
from providers.translation.dialect import Dialect

Row = tuple[str, str, str]

# (kind, base URL where it decides the dialect, model id): each preset, and a model of each rule.
TARGETS = [
    ("openai_compatible", "http://gpu.example:8000/v1", "some-model"),
    ("openai_compatible", "https://api.openai.com/v1", "gpt-4o"),
    ("openai_compatible", "https://api.openai.com/v1", "gpt-5.6-sol"),
    ("openai_compatible", "https://api.openai.com/v1", "o3"),
    ("openai_compatible", "https://firm.openai.azure.com/openai/v1", "our-deployment"),
    ("openai_compatible", "https://api.deepseek.com/v1", "deepseek-v4-pro"),
    ("openai_compatible", "https://api.groq.com/openai/v1", "openai/gpt-oss-120b"),
    ("openai_compatible", "https://api.together.ai/v1", "zai-org/GLM-5.2"),
    ("anthropic_compatible", "https://relay.example", "some-model"),
    ("deepseek", "", "deepseek-flash"),
    ("kimi", "", "kimi-k2.6"),
    ("kimi", "", "kimi-k2.7-code"),
    ("kimi", "", "kimi-k3"),
    ("zhipu", "", "glm-5.2"),
    ("zhipu", "", "glm-4.6v"),
    ("minimax", "", "MiniMax-M3"),
    ("dashscope", "", "qwen3.7-max"),
    ("dashscope", "", "qwen3.6-plus"),
    ("dashscope", "", "qwen3-coder-plus"),
    ("dashscope", "", "qwen3-235b-a22b-thinking-2507"),
    ("dashscope", "", "qwq-plus"),
    ("dashscope", "", "deepseek-v4-pro"),
    ("dashscope", "", "kimi-k2.6"),
    ("dashscope", "", "kimi-k2.7-code"),
    ("dashscope", "", "glm-5.1"),
    ("dashscope", "", "tongyi-intent-detect-v3"),
    ("openrouter", "", "anthropic/claude-opus-5"),
    ("openrouter", "", "qwen/qwen3.7-plus"),
    ("openrouter", "", "google/gemini-3-pro"),
    ("openrouter", "", "z-ai/glm-5.2"),
    ("openrouter", "", "openai/gpt-5.6-sol"),
    ("openrouter", "", "deepseek/deepseek-v4-flash"),
    ("siliconflow", "", "deepseek-ai/DeepSeek-V4-Pro"),
    ("siliconflow", "", "Qwen/Qwen3-Coder-480B-A35B-Instruct"),
    ("siliconflow", "", "Pro/moonshotai/Kimi-K2.6"),
    ("ollama", "", "qwen3:32b"),
    ("lmstudio", "", "openai/gpt-oss-20b"),
    ("llamacpp", "", "qwen3-8b"),
]


def dialect_of(row: Row, capabilities: Sequence[str] | None = None) -> Dialect:
    kind, base_url, model_id = row
    return dialect_for(kind, {}, {}, capabilities, base_url=base_url, model_id=model_id)

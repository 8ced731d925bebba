"""Configuration files for the tests, and a way to apply them."""

import io
import json
import tempfile
from pathlib import Path
from typing import Any

from django.core.management import CommandError, call_command
from django.test import TestCase

FULL = """
version: 1
providers:
  - name: main
    kind: openai_compatible
    base_url: http://127.0.0.1:9000/v1
    wire_format: openai
    credentials: [{name: default, secret: sk-vendor-0123456789}, {name: spare, secret: sk-vendor-spare-987}]
    timeouts_s: {connect: 5, first_event: 60, idle: 300, total: 1800}
    allow_private_network: true
    flags: {vision: true}
    extra_headers: {x-team: platform, x-auth-token: header-secret}
    models:
      - id: big
        context_window: 200000
        max_output_tokens: 32000
        capabilities: [tools, vision, pdf, thinking]
        price: {currency: USD, input: 3, output: 15, cache_read: 0.3, cache_write: 3.75}
      - {id: small, price: {currency: CNY, input: 0.1, output: 0.000002}}
      - {id: "qwen/qwen3:free", flags: {think_tags: true}}
routes:
  - {name: everyday, order: priority, targets: [main/big, "main/qwen/qwen3:free"]}
  - {name: cheap, order: priority, targets: [{target: main/small, weight: 3}, main/big]}
aliases:
  - {pattern: "claude-haiku-*", target: main/small}
  - {pattern: anything, target: "route:cheap"}
scenes:
  - {name: code, description: Writing and changing code, examples: [fix this], route: everyday, default: true}
  - {name: chat, description: Talking about the weather, route: cheap}
policies:
  - {name: default, default: true, mode: direct, route: everyday, reference_model: main/big,
     classifier: [main/small], scenes: [code, chat], classifier_timeout_ms: 1500}
teams:
  - {name: platform, cost_center: "4711", lead: dev1, parent: company}
  - {name: company}
users:
  - {username: dev1, email: dev1@Example.com, team: platform, roles: [member, team_lead]}
  - {username: boss, roles: [administrator]}
keys:
  - {user: dev1, name: laptop, secret: wg_laptop0123456789abcdef, policy: default, allowed_models: ["main/*"],
     expires_at: 2027-01-01T00:00:00+08:00, max_concurrency: 4, note: a note, capture: full,
     allowed_networks: [10.1.2.3/16, "2001:db8::/32"]}
quotas:
  - {key: dev1/laptop, unit: tokens, window: day, limit: 1000000, action: block}
  - {user: dev1, unit: cost, window: month, limit: 12.5, currency: CNY, action: warn}
  - {team: platform, unit: requests, window: 5h, limit: 100}
settings: {capture: metadata, business_time_zone: Asia/Shanghai, ping_interval_s: 12.5, cooldown_enabled: true}
"""
# Nothing of it may ever be printed.
SECRETS = ("sk-vendor-0123456789", "sk-vendor-spare-987", "wg_laptop0123456789abcdef", "header-secret")


class ConfigCase(TestCase):
    """A test case that applies files."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def apply(self, document: Any, *options: str) -> list[str]:
        """Apply a document (YAML text, or values) and return the lines printed."""
        file = self.directory / "wolfgate.yaml"
        file.write_text(document if isinstance(document, str) else json.dumps({"version": 1, **document}))
        output = io.StringIO()
        call_command("apply_config", str(file), *options, stdout=output)
        return output.getvalue().splitlines()

    def refused(self, document: Any, *options: str) -> list[str]:
        """Return the problems for which a document is refused."""
        with self.assertRaises(CommandError) as caught:
            self.apply(document, *options)
        self.assertEqual(caught.exception.returncode, 1)
        return str(caught.exception).splitlines()[1:]


def provider(**fields: Any) -> dict[str, Any]:
    """Return a provider `main` with the model `big`."""
    return {"name": "main", "kind": "openrouter", "models": [{"id": "big"}], **fields}

"""What is wrong with a configuration file is said with the path of the field, all at once, and changes nothing."""

from typing import Any

import pytest

from gateway.config.document import Unreadable, load
from providers.models import Provider
from routing.models import Policy
from tests.gateway.config_files import FULL, ConfigCase, provider

# What the file says (without its version) -> the problems, exactly.
CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown section": ({"provider": []}, ["provider: unknown field; did you mean providers?"]),
    "section is no list": ({"routes": None}, ["routes: must be a list"]),
    "entry is no mapping": ({"routes": ["a"]}, ["routes[0]: must be a mapping of fields"]),
    "unknown field": (
        {"providers": [provider(base_ulr="http://x")]},
        ["providers[0].base_ulr: unknown field; did you mean base_url?"],
    ),
    "required": ({"routes": [{"order": "priority"}]}, ["routes[0].name: is required"]),
    "required on creation": ({"providers": [{"name": "a"}]}, ["providers[0].kind: is required"]),
    "null where a value must be": ({"routes": [{"name": None}]}, ["routes[0].name: must be text"]),
    "choice": (
        {"routes": [{"name": "a", "order": "priorty"}]},
        ["routes[0].order: must be one of priority, weighted, cheapest, fastest; did you mean priority?"],
    ),
    "a number where text is due": (
        {"teams": [{"name": "a", "cost_center": 4711}]},
        ["teams[0].cost_center: must be text; put it in quotes"],
    ),
    "negative price": (
        {
            "providers": [
                provider(models=[{"id": "a"}, {"id": "b"}, {"id": "c", "price": {"currency": "usd", "input": -1}}])
            ]
        },
        [
            "providers[0].models[2].price.currency: must be a currency code of three capital letters",
            "providers[0].models[2].price.input: must be a number of at least 0",
            "providers[0].models[2].price.output: is required",
        ],
    ),
    "price with too many digits": (
        {"providers": [provider(models=[{"id": "a", "price": {"currency": "USD", "input": 0.1234567, "output": 1}}])]},
        [
            "providers[0].models[0].price.input: Ensure that there are no more than 6 decimal places.",
        ],
    ),
    "true is no number": (
        {"providers": [provider(models=[{"id": "a", "context_window": True}])]},
        ["providers[0].models[0].context_window: must be a whole number of at least 1"],
    ),
    "capability": (
        {"providers": [provider(models=[{"id": "a", "capabilities": ["tools", "pfd", "tools"]}])]},
        ["providers[0].models[0].capabilities[1]: must be one of tools, vision, pdf, thinking; did you mean pdf?"],
    ),
    "flags": (
        {"providers": [provider(flags={"visoin": True, "tool_id": "x", "pdf": 1})]},
        [
            "providers[0].flags.visoin: unknown field; did you mean vision?",
            "providers[0].flags.tool_id: must be one of any, openai40, mistral9, alnum64",
            "providers[0].flags.pdf: must be true or false",
        ],
    ),
    "private address": (
        {"providers": [provider(base_url="http://127.0.0.1:9000/v1")]},
        [
            "providers[0].base_url: This is a private address. Allow private networks for this provider if that is "
            "meant."
        ],
    ),
    "short timeout": (
        {"providers": [provider(timeouts_s={"connect": 0, "idel": 1})]},
        ["providers[0].timeouts_s.idel: unknown field; did you mean idle?"],
    ),
    "timeout that the model refuses": (
        {"providers": [provider(timeouts_s={"connect": 0})]},
        ["providers[0].timeouts_s.connect: Ensure this value is greater than or equal to 0.1."],
    ),
    "name with a slash": (
        {"providers": [provider(name="a/b", models=[])]},
        [
            "providers[0].name: Use letters, digits, dot, hyphen, underscore; start with a letter or digit.",
        ],
    ),
    "credential without a secret": (
        {"providers": [provider(credentials=[{"name": "a"}])]},
        ["providers[0].credentials[0].secret: is required for a new credential (or secret_env)"],
    ),
    "credential with both": (
        {"providers": [provider(credentials=[{"secret": "a", "secret_env": "B"}])]},
        ["providers[0].credentials[0].secret_env: stands beside a secret; give one of them"],
    ),
    "credential with a line break": (
        {"providers": [provider(credentials=[{"secret": "a\nb"}])]},
        ["providers[0].credentials[0].secret: must consist of printable ASCII characters without spaces"],
    ),
    "environment": (
        {"providers": [provider(credentials=[{"secret_env": "NO_SUCH_VARIABLE_HERE"}])]},
        ["providers[0].credentials[0].secret_env: NO_SUCH_VARIABLE_HERE is not set in the environment"],
    ),
    "twice": (
        {"routes": [{"name": "a"}, {"name": "a"}]},
        ["routes[1]: route a is described twice"],
    ),
    "target": (
        {"providers": [provider()], "routes": [{"name": "a", "targets": ["main", 7, "main/bg"]}]},
        ["routes[0].targets[1]: must be text; put it in quotes"],
    ),
    "missing target": (
        {"providers": [provider()], "routes": [{"name": "a", "targets": ["main/bg", "main/big", "main/big"]}]},
        [
            "routes[0].targets[0]: there is no model main/bg; did you mean main/big?",
            "routes[0].targets[2]: main/big is named twice",
        ],
    ),
    "what hangs below a refused row is not reported again": (
        {
            "providers": [provider(kind="openruter", credentials=[{"name": "a"}])],
            "routes": [{"name": "a", "targets": ["main/big"]}],
            "policies": [{"name": "p", "route": "a"}],
            "aliases": [{"pattern": "x", "target": "route:a"}, {"pattern": "y", "target": "route:b"}],
        },
        [
            "providers[0].kind: must be one of openai_compatible, anthropic_compatible, dashscope, openrouter, "
            "siliconflow, ollama, lmstudio, llamacpp, deepseek, kimi, zhipu, minimax; did you mean openrouter?",
            "aliases[1].target: there is no route b",
        ],
    ),
    "alias target": (
        {
            "providers": [provider()],
            "aliases": [
                {"pattern": f"x{index}", "target": target} for index, target in enumerate(("bug", "route:b", "scene:c"))
            ],
        },
        [
            "aliases[0].target: there is no model bug; did you mean big?",
            "aliases[1].target: there is no route b",
            "aliases[2].target: there is no scene c",
        ],
    ),
    "two defaults": (
        {
            "routes": [{"name": "a"}],
            "policies": [{"name": "p", "route": "a", "default": True}, {"name": "q", "route": "a", "default": True}],
        },
        ["policies[1].default: policies[0] is the default already"],
    ),
    "policy without route": (
        {"policies": [{"name": "p"}]},
        ["policies[0].route: Choose the route whose targets answer."],
    ),
    "smart mode without a default scene": (
        {"routes": [{"name": "a"}], "policies": [{"name": "p", "mode": "smart", "route": "a"}]},
        [
            "policies[0].scenes: Routing by intent needs a default scene, which answers where no other is recognised. "
            "Make one the default.",
        ],
    ),
    "weight": (
        {
            "providers": [provider()],
            "routes": [{"name": "a", "order": "weighted", "targets": [{"target": "main/big", "weight": 0}]}],
        },
        ["routes[0].targets[0].weight: must be a whole number of at least 1"],
    ),
    "scene": (
        {"scenes": [{"name": "code", "description": "short", "route": "a"}], "routes": [{"name": "a"}]},
        ["scenes[0].description: Ensure this value has at least 10 characters (it has 5)."],
    ),
    "team above itself": (
        {"teams": [{"name": "a", "parent": "b"}, {"name": "b", "parent": "a"}]},
        ["teams[1].parent: is the team itself or below it"],
    ),
    "role": (
        {"users": [{"username": "u", "roles": ["admin"]}]},
        ["users[0].roles[0]: must be one of member, finance, team_lead, administrator"],
    ),
    "password in the file": (
        {"users": [{"username": "u", "password": "x"}]},
        ["users[0].password: unknown field; did you mean password_env?"],
    ),
    "naive time": (
        {"users": [{"username": "u"}], "keys": [{"user": "u", "name": "k", "expires_at": "2027-01-01T00:00:00"}]},
        ["keys[0].expires_at: must state its offset, like 2027-01-01T00:00:00+08:00"],
    ),
    "no time": (
        {"users": [{"username": "u"}], "keys": [{"user": "u", "name": "k", "expires_at": "soon"}]},
        ["keys[0].expires_at: must be a time like 2027-01-01T00:00:00+08:00"],
    ),
    "weak key": (
        {"users": [{"username": "u"}], "keys": [{"user": "u", "name": "k", "secret": "wg_short"}]},
        ["keys[0].secret: A key has at least 20 characters."],
    ),
    "networks of a key": (
        {
            "users": [{"username": "u"}],
            "keys": [
                {
                    "user": "u",
                    "name": "a",
                    "secret": "wg_0123456789abcdefghij",
                    "allowed_networks": ["10.0.0.1", "x", 7],
                },
                {"user": "u", "name": "b", "secret": "wg_1123456789abcdefghij", "allowed_networks": ["::1", "0::1"]},
            ],
        },
        [
            "keys[0].allowed_networks[1]: must be an address or a network such as 10.1.0.0/16",
            "keys[0].allowed_networks[2]: must be text; put it in quotes",
            "keys[1].allowed_networks[1]: ::1 is named twice",
        ],
    ),
    "one secret for two keys": (
        {
            "users": [{"username": "u"}],
            "keys": [{"user": "u", "name": name, "secret": "wg_0123456789abcdefghij"} for name in "ab"],
        },
        ["keys[1].secret: is that of the key u/a"],
    ),
    "key of nobody": (
        {"keys": [{"user": "u", "name": "k", "secret": "wg_0123456789abcdefghij"}]},
        ["keys[0].user: there is no user u"],
    ),
    "quota of two": (
        {"quotas": [{"user": "u", "team": "t", "unit": "tokens", "window": "day", "limit": 1}]},
        ["quotas[0]: must name exactly one of key, user and team"],
    ),
    "quota": (
        {
            "users": [{"username": "u"}],
            "quotas": [
                {"user": "u", "unit": "token", "window": "day", "limit": 1},
                {"user": "u", "unit": "tokens", "window": "day", "limit": 1, "action": "downgrad"},
            ],
        },
        [
            "quotas[0].unit: must be one of cost, tokens, requests; did you mean tokens?",
            "quotas[1].action: must be one of block, warn, downgrade; did you mean downgrade?",
        ],
    ),
    "settings": (
        {"settings": {"ping_interval_s": 0, "cooldown": True}},
        ["settings.cooldown: unknown field; did you mean cooldown_enabled?"],
    ),
    "settings that the model refuses": (
        {"settings": {"ping_interval_s": 0, "business_time_zone": "Asia/Peking"}},
        [
            "settings.business_time_zone: “Asia/Peking” is not a time zone.",
            "settings.ping_interval_s: Ensure this value is greater than or equal to 1.",
        ],
    ),
}


class RefusedTest(ConfigCase):
    def test_each_problem_is_said_with_its_path(self) -> None:
        for name, (document, problems) in CASES.items():
            with self.subTest(name):
                self.assertEqual(self.refused(document), problems)

    def test_a_refused_file_changes_nothing(self) -> None:
        self.refused(FULL + "\naliases2: []\n")
        self.refused(FULL.replace("limit: 100}", "limit: -1}"))
        self.assertEqual((Provider.objects.count(), Policy.objects.count()), (0, 0))

    def test_a_stored_row_is_not_changed_either(self) -> None:
        self.apply(FULL)
        self.refused(FULL.replace("context_window: 200000", "context_window: 1").replace("route:cheap", "route:none"))
        self.assertEqual(self.apply(FULL), ["No changes."])

    def test_all_problems_are_found_in_one_run(self) -> None:
        self.assertEqual(
            self.refused(
                {
                    "providers": [provider(models=[{"id": "a", "context_window": "x"}])],
                    "routes": [{"name": "a", "targets": ["main/none"]}],
                    "settings": {"capture": "all"},
                }
            ),
            [
                "providers[0].models[0].context_window: must be a whole number of at least 1",
                "settings.capture: must be one of off, metadata, full",
                "routes[0].targets[0]: there is no model main/none",
            ],
        )

    def test_a_secret_is_not_repeated_by_an_error(self) -> None:
        for document in (
            {"providers": [provider(credentials=[{"secret": "sk-hidden with space"}])]},
            {"providers": [provider(credentials=[{"secret": {"x": "sk-hidden"}}])]},
            {"providers": [provider(extra_headers={"x-token": "sk-hidden\n"})]},
            {"users": [{"username": "u"}], "keys": [{"user": "u", "name": "k", "secret": "sk-hidden"}]},
            "version: 1\nproviders: [{name: a, credentials: [{secret: 'sk-hidden]}]\n",
            "version: 1\nproviders: [{secret: @sk-hidden}]\n",
        ):
            self.assertNotIn("sk-hidden", "\n".join(self.refused(document)))

    def test_files_that_are_no_configuration(self) -> None:
        for text, problem in (
            ("", "the file must be a mapping of fields"),
            ("[]", "the file must be a mapping of fields"),
            ("routes: []", "version: is required"),
            ("version: 2", "version: must be 1"),
            ("version: '1'", "version: must be a whole number of at least 1"),
            ("version: 1\nroutes: []\nroutes: []\n", "routes: is given twice"),
            ('{"version": 1, "settings": {"capture": "off", "capture": "full"}}', "settings.capture: is given twice"),
        ):
            with self.subTest(text):
                self.assertEqual(self.refused(text), [problem])


@pytest.mark.parametrize(
    "text",
    ["a: [", "a: 'b", "!!python/object:os.system {}", "? [a]\n: b", "\x00", "a: *nothing", "[" * 100_000, "a: @b"],
)
def test_text_that_is_neither_yaml_nor_json_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        load(text)


def test_numbers_are_read_as_they_are_written() -> None:
    document = load("{a: 0.1, b: 1.10, c: 12345678901234.123456, d: .inf, e: 3}")
    assert {name: str(value) for name, value in document.items()} == {
        "a": "0.1",
        "b": "1.10",
        "c": "12345678901234.123456",
        "d": "Infinity",
        "e": "3",
    }
    assert load('{"smile": "\\ud83d\\ude00", "n": 1e5}') == {"smile": "😀", "n": 100000}

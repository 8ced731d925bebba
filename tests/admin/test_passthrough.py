"""What the forms say when calls cannot be passed through."""

from typing import Any

from django.http import HttpResponse

from providers.models import Model, Provider
from routing.models import Policy, Route, RouteEntry
from tests.admin.pages import AdminTestCase, row_url
from tests.admin.rows import POLICY_FIELDS


class PassthroughForms(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.claude = Provider.objects.create(name="claude", kind="anthropic_compatible")
        self.qwen = Provider.objects.create(name="qwen", kind="dashscope", wire_format="anthropic")
        self.up = Provider.objects.create(name="up", kind="openai_compatible")
        self.route = Route.objects.create(name="servers")
        for position, provider in enumerate((self.claude, self.qwen)):
            row = Model.objects.create(provider=provider, model_id="*")
            RouteEntry.objects.create(route=self.route, model=row, position=position)
        self.openai = Model.objects.create(provider=self.up, model_id="a")
        self.policy = Policy.objects.create(name="through", mode="passthrough", route=self.route)

    def errors(self, response: HttpResponse) -> dict[str, Any]:
        assert response.status_code == 200
        return dict(response.context["adminform"].form.errors)  # type: ignore[attr-defined]

    def provider(self, row: Provider, **fields: str) -> HttpResponse:
        data = {
            "name": row.name,
            "kind": row.kind,
            "wire_format": row.wire_format,
            "flags": "{}",
            "extra_headers": "{}",
            "is_enabled": "on",
            "credentials-TOTAL_FORMS": "0",
            "credentials-INITIAL_FORMS": "0",
        }
        return self.client.post(row_url(row), {**data, **fields})

    def test_a_policy_names_the_target(self) -> None:
        other = Route.objects.create(name="other")
        RouteEntry.objects.create(route=other, model=self.openai)
        data = {
            "name": "through",
            "mode": "passthrough",
            "route": other.pk,
            **POLICY_FIELDS,
        }
        found = self.errors(self.client.post(row_url(self.policy), data))
        assert list(found) == ["route"]
        assert "up/a" in found["route"][0]
        assert self.client.post(row_url(self.policy), {**data, "route": self.route.pk}).status_code == 302

    def test_a_route_in_use_takes_no_target_of_another_wire(self) -> None:
        data = {
            "name": "servers",
            "order": "priority",
            "entries-TOTAL_FORMS": "1",
            "entries-INITIAL_FORMS": "0",
            "entries-0-model": self.openai.pk,
            "entries-0-position": "2",
            "entries-0-weight": "1",
        }
        response = self.client.post(row_url(self.route), data)
        assert response.status_code == 200
        text = response.content.decode()
        assert "up/a is no Anthropic-compatible server, and the policy through passes calls through." in text
        assert self.route.entries.count() == 2
        Policy.objects.update(mode="direct")
        assert self.client.post(row_url(self.route), data).status_code == 302

    def test_a_provider_in_use_keeps_its_wire_format(self) -> None:
        found = self.errors(self.provider(self.qwen, wire_format=""))
        assert "through" in found["wire_format"][0]
        assert self.provider(self.up, wire_format="").status_code == 302
        assert self.provider(self.qwen).status_code == 302

    def test_the_switch_is_in_the_form_for_the_anthropic_wire_alone(self) -> None:
        assert self.provider(self.claude, forwards_client_credential="on").status_code == 302
        self.claude.refresh_from_db()
        assert self.claude.forwards_client_credential
        found = self.errors(self.provider(self.up, forwards_client_credential="on"))
        assert list(found) == ["forwards_client_credential"]

    def test_flags_of_the_messages_endpoint_can_be_entered(self) -> None:
        assert self.provider(self.claude, flags='{"native_betas": false}').status_code == 302
        found = self.errors(self.provider(self.claude, flags='{"native_betas": 1}'))
        assert "native_betas" in found["flags"][0]

"""Everybody who may come to the management API: sessions of each role, keys of each scope, and those without."""

import json
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group
from django.http import HttpResponse
from django.test import Client, TestCase
from django.utils import timezone

from accounts import keys
from accounts.models import ApiKey, Team, User
from gateway.manage.api import api


def operations() -> list[tuple[str, str, str]]:
    """Return (method, path, id) of every operation of the document."""
    paths: dict[str, dict[str, Any]] = api.get_openapi_schema()["paths"]
    return [
        (method.upper(), path, operation["operationId"])
        for path, methods in paths.items()
        for method, operation in methods.items()
    ]


def make_user(name: str, role: str = "", team: Team | None = None, **fields: Any) -> User:
    """Make a person with a role."""
    is_administrator = role == "administrator"
    user = User(username=name, team=team, is_superuser=is_administrator, is_staff=bool(role), **fields)
    user.set_unusable_password()
    user.save()
    if role:
        user.groups.add(Group.objects.get(name=role))
    return user


class ManageTestCase(TestCase):
    """Tests with two teams, their people, and keys of every kind."""

    client: Client

    @classmethod
    def setUpTestData(cls) -> None:
        cls.team, cls.other_team = Team.objects.create(name="平台组"), Team.objects.create(name="other")
        cls.root = make_user("root", "administrator")
        cls.lead = make_user("lead", "team_lead", cls.team)
        cls.team.lead = cls.lead
        cls.team.save()
        cls.finance = make_user("finance", "finance")
        cls.member = make_user("张伟", "member", cls.team)
        cls.stranger = make_user("stranger", "member", cls.other_team)
        cls.admin_key, cls.admin_secret = keys.issue(cls.root, "ops", scope=ApiKey.Scope.ADMIN)
        cls.finance_key, cls.finance_secret = keys.issue(cls.root, "books", scope=ApiKey.Scope.FINANCE)
        cls.plain_key, cls.plain_secret = keys.issue(cls.member, "laptop")
        cls.foreign_key, _secret = keys.issue(cls.stranger, "laptop")

    def ask(self, method: str, path: str, body: Any = None, *, secret: str | None = None, **headers: str) -> Any:
        """Send a request as an administrator's key, or as that of `secret` ("": none); return the response."""
        secret = self.admin_secret if secret is None else secret
        if secret:
            headers.setdefault("authorization", f"Bearer {secret}")
        data = body if isinstance(body, str | bytes) else json.dumps({} if body is None else body)
        return self.client.generic(
            method,
            path if path.startswith("/") else f"/api/manage/{path}",
            b"" if method == "GET" else data,
            content_type="application/json",
            headers=headers,
        )

    def answer(self, method: str, path: str, body: Any = None, *, status: int = 200, **how: Any) -> Any:
        """Send a request, check the status, and return the JSON."""
        response = self.ask(method, path, body, **how)
        self.assertEqual(response.status_code, status, response.content.decode()[:2000])
        return response.json()

    def refused(self, response: HttpResponse, status: int, *fields: str) -> dict[str, Any]:
        """Check that `response` is an error in the one shape, about these fields; return it."""
        self.assertEqual(response.status_code, status, response.content.decode()[:2000])
        self.assertTrue(response.headers["Content-Type"].startswith("application/json"), response.headers)
        document = json.loads(response.content)
        self.assertEqual(set(document), {"error"})
        error: dict[str, Any] = document["error"]
        self.assertEqual(set(error), {"type", "message", "fields"})
        self.assertTrue(error["message"])
        self.assertLessEqual(set(fields), set(error["fields"]), error)
        return error

    def ended_secret(self, kind: str) -> str:
        """Return the secret of an administrator's key that is revoked or expired."""
        key, secret = keys.issue(self.root, kind, scope=ApiKey.Scope.ADMIN)
        if kind == "revoked":
            keys.revoke(key)
        else:
            ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
        return secret

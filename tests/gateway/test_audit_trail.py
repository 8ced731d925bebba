"""Who acts: by a request through the real application, and by a command."""

import getpass
import io
import json
import os
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from typing import Any
from unittest import mock

import httpx
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.core.management import call_command
from django.db import connection
from django.db.models import Model, QuerySet
from django.db.models.signals import pre_save
from django.test import TestCase, TransactionTestCase, override_settings
from django.test.utils import CaptureQueriesContext

from accounts import audit
from accounts.audit_signals import AUDITED
from accounts.models import AuditEntry, User
from gateway.asgi import application
from gateway.audit_trail import command_actor
from manage import CommandLine
from providers.encryption import encrypt
from providers.models import Credential, Provider
from tests.admin.rows import make_rows
from tests.fakes.transport import Reply, text_stream
from tests.gateway.case import GatewayCase
from tests.gateway.config_files import FULL, SECRETS, ConfigCase

PLATFORM = {"name": "platform", "is_active": "on"}


def session_of(user: User) -> str:
    """Return the cookie of somebody who has signed in."""
    session: Any = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return str(session.session_key)


class ThroughTheApplication(GatewayCase):
    """The middleware is sync, and runs in a thread of the server: who acts has to come along."""

    def browser(self, user: User | None, peer: str = "192.0.2.9") -> httpx.AsyncClient:
        transport = httpx.ASGITransport(application, client=(peer, 1))
        token = "c" * 32
        cookies = {"csrftoken": token} | ({"sessionid": session_of(user)} if user is not None else {})
        headers = {"x-csrftoken": token, "referer": "http://localhost/"}
        return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers, cookies=cookies)

    async def test_who_saves_a_form_is_written_down_with_the_address(self) -> None:
        people = [await sync_to_async(User.objects.create_superuser)(name) for name in ("anna", "bert")]
        for number, user in enumerate(people):
            client = await sync_to_async(self.browser)(user, f"192.0.2.{number}")
            async with client:
                response = await client.post("/admin/accounts/team/add/", data={**PLATFORM, "name": user.username})
            assert response.status_code == 302, response.text
        found = AuditEntry.objects.filter(object_type="accounts.team").order_by("pk")
        written = [(entry.actor_name, entry.address, entry.object_name, entry.via) async for entry in found]
        assert written == [("anna", "192.0.2.0", "anna", "admin"), ("bert", "192.0.2.1", "bert", "admin")]
        assert audit.actor() is None

    async def test_a_call_saves_no_row_that_is_written_down(self) -> None:
        before = await AuditEntry.objects.acount()
        saved: list[type[Model]] = []

        def note(sender: type[Model], **_kwargs: Any) -> None:
            saved.append(sender)

        pre_save.connect(note)
        self.addCleanup(pre_save.disconnect, note)
        async with self.gateway(Reply(text_stream("hello")), Reply(text_stream("hello"))) as gateway:
            for _number in range(2):
                assert (await gateway.send()).status_code == 200
        assert not set(saved) & {*AUDITED, AuditEntry}
        assert await AuditEntry.objects.acount() == before

    async def test_behind_a_trusted_proxy_the_address_is_the_clients(self) -> None:
        client = await sync_to_async(self.browser)(None)
        headers = {"x-forwarded-for": "203.0.113.5, 198.51.100.7"}
        with override_settings(TRUSTED_PROXIES=["192.0.2.0/24"]):
            async with client:
                data = {"username": "dev1", "password": "wrong"}
                assert (await client.post("/admin/login/", data=data, headers=headers)).status_code == 200
        entry = await AuditEntry.objects.aget(note="Failed sign-in.")
        assert (entry.actor_name, entry.address) == ("anonymous", "198.51.100.7")
        assert entry.object_id == str(self.user.pk)


class CommandLines(TransactionTestCase):
    """Commands as `manage.py` runs them, which closes the connections at its end."""

    def run_command(self, *arguments: str) -> None:
        token = audit._actor.set(None)
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                CommandLine(["manage.py", *arguments]).execute()
        finally:
            audit._actor.reset(token)

    def test_what_a_command_changes_is_written_down_as_done_by_it(self) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({"version": 1, "teams": [{"name": "platform"}]}, file)
            file.flush()
            self.run_command("apply_config", file.name)
        entry = AuditEntry.objects.get(object_type="accounts.team")
        self.assertEqual((entry.object_type, entry.object_name, entry.via), ("accounts.team", "platform", "command"))
        self.assertEqual((entry.actor, entry.actor_name), (None, f"apply_config ({getpass.getuser()})"))

    def test_a_command_of_djangos_is_written_down_too(self) -> None:
        with mock.patch.dict(os.environ, {"DJANGO_SUPERUSER_PASSWORD": "0123456789 words"}):
            self.run_command("createsuperuser", "--noinput", "--username", "root", "--email", "r@example.com")
        entry = AuditEntry.objects.get(object_type="accounts.user")
        self.assertTrue(entry.actor_name.startswith("createsuperuser ("), entry.actor_name)
        self.assertEqual(entry.changes["is_superuser"], [None, True])
        self.assertNotIn("0123456789", json.dumps(entry.changes))


class Commands(ConfigCase):
    def setUp(self) -> None:
        super().setUp()
        # The groups of the roles, where another test emptied the database and they were made anew.
        self.before = set(AuditEntry.objects.values_list("pk", flat=True))

    def entries(self) -> QuerySet[AuditEntry]:
        """Return what was written since."""
        return AuditEntry.objects.exclude(pk__in=self.before)

    def test_a_user_without_a_name_is_written_down_by_number(self) -> None:
        with mock.patch.object(getpass, "getuser", side_effect=KeyError):
            self.assertEqual(command_actor("x").name, f"x (uid {os.getuid()})")

    def test_a_file_is_one_entry_for_each_row_and_none_when_it_is_applied_again(self) -> None:
        self.apply(FULL)
        written = self.entries().count()
        rows = self.entries().values("object_type", "object_id").distinct().count()
        self.assertEqual(written, rows)
        self.assertGreater(written, 10)
        self.apply(FULL)
        self.assertEqual(self.entries().count(), written)
        values = json.dumps(list(AuditEntry.objects.values()), default=str)
        for secret in SECRETS:
            self.assertNotIn(secret, values)

    def test_a_dry_run_and_a_refused_file_leave_nothing(self) -> None:
        self.apply({"teams": [{"name": "platform"}]}, "--dry-run")
        self.refused({"teams": [{"name": "platform"}, {"name": ""}]})
        self.assertFalse(self.entries().exists())

    def test_a_file_of_many_rows_writes_its_entries_at_once(self) -> None:
        def count(number: int) -> int:
            teams = [{"name": f"team{index}"} for index in range(number)]
            with CaptureQueriesContext(connection) as context:
                self.apply({"teams": teams})
            return len([query for query in context if "accounts_auditentry" in query["sql"]])

        self.assertEqual((count(5), count(50)), (1, 1))
        self.assertEqual(self.entries().count(), 50)

    def test_encrypting_anew_is_written_down_without_the_secret(self) -> None:
        provider = Provider.objects.create(name="main", kind="ollama")
        Credential.objects.create(provider=provider, encrypted_secret=encrypt("sk-vendor-0123456789"))
        call_command("rotate_encryption", stdout=io.StringIO())
        entry = AuditEntry.objects.latest("pk")
        self.assertEqual(entry.note, "The same secret, encrypted anew.")
        self.assertEqual(entry.changes, {"encrypted_secret": ["••••", "••••"]})


class KeptPrompts(TestCase):
    def test_deleting_them_all_is_written_down(self) -> None:
        make_rows(2)
        call_command("purge_captures", "--all", stdout=io.StringIO())
        entry = AuditEntry.objects.latest("pk")
        self.assertEqual((entry.note, entry.changes), ("Deleted kept prompts and answers.", {"captures": [2, 0]}))
        call_command("purge_captures", "--all", stdout=io.StringIO())
        self.assertEqual(AuditEntry.objects.latest("pk"), entry)


class ListOfModels(TestCase):
    def test_a_refreshed_list_of_models_is_one_entry_of_the_provider(self) -> None:
        from providers.catalog import refresh_models

        provider = Provider.objects.create(
            name="main", kind="openrouter", base_url="http://up.test/v1", allow_private_network=True
        )
        price = {"prompt": "0.000001", "completion": "0.000002"}
        listed = {"data": [{"id": name, "name": name, "pricing": price} for name in ("big", "small")]}
        transport = httpx.MockTransport(lambda _request: httpx.Response(200, json=listed))
        refresh_models(provider, transport=transport)
        entry = AuditEntry.objects.latest("pk")
        self.assertEqual((entry.object_type, entry.action), ("providers.provider", "other"))
        prices = ["big: USD 1 / 2", "small: USD 1 / 2"]
        self.assertEqual(entry.changes, {"added": [None, ["big", "small"]], "prices": [None, prices]})

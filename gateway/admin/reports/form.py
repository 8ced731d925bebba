"""What a reader of a report chooses: the days, what the rows are, of whom or what."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts.models import ApiKey, Team, UsageDaily, User
from accounts.reports import DIMENSIONS, FILTERS, BadQuery, Period, Query
from accounts.roles import visible
from gateway.admin.books.decisions import INNER_KINDS, kind_label
from providers.models import Model, Provider
from routing.models import RequestKind, Scene

PERIODS: dict[str, Any] = {
    "month": _("this month"),
    "last_month": _("last month"),
    "7": _("last 7 days"),
    "30": _("last 30 days"),
    "90": _("last 90 days"),
    "year": _("this year"),
    "custom": _("own days"),
}
MEASURES: dict[str, Any] = {
    "cost": _("cost"),
    "tokens": _("tokens"),
    "calls": _("calls"),
    "saved": _("saved by routing"),
}
# In a field of a name: those without one.
WITHOUT = "-"


def period_of(chosen: str, today: date) -> Period:
    """Return the days that `chosen`, a key of `PERIODS` but the last, means on the day `today`."""
    match chosen:
        case "month":
            return Period(today.replace(day=1), today)
        case "last_month":
            return Period.last_month(today)
        case "year":
            return Period(today.replace(month=1, day=1), today)
    return Period.last_days(today, int(chosen))


class DateField(forms.DateField):
    """A day, chosen with the browser's own calendar."""

    widget = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    input_formats = ("%Y-%m-%d",)


class NameField(forms.CharField):
    """A name as the books hold it, which may be one that no row has any more; proposed are today's."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, max_length=200, **kwargs)


def _choices(names: Mapping[str, Any], empty: Any = None) -> list[tuple[str, Any]]:
    return [*([("", empty)] if empty else []), *names.items()]


class RowSelect(AutocompleteSelect):
    """A choice of one of many rows, found by typing."""

    def optgroups(self, name: str, value: Sequence[str], attr: dict[str, Any] | None = None) -> Any:
        """Return the chosen row. An address can say anything; Django's own would look up what is no id."""
        ids = [one for one in value if one.isascii() and one.isdigit() and len(one) < 19]
        return super().optgroups(name, ids, attr)


class ReportForm(forms.Form):
    """The choice, read from the address. `query()` is what it asks."""

    period = forms.ChoiceField(label=_("period"), choices=_choices(PERIODS))
    start = DateField(label=_("from"), required=False)
    end = DateField(label=_("to"), required=False)
    by = forms.ChoiceField(label=_("by"), choices=_choices({name: each.label for name, each in DIMENSIONS.items()}))
    then = forms.ChoiceField(
        label=_("and by"),
        choices=_choices({name: each.label for name, each in DIMENSIONS.items()}, "-"),
        required=False,
    )
    measure = forms.ChoiceField(label=_("chart of"), choices=_choices(MEASURES))
    team = forms.ChoiceField(label=_("team"), required=False)
    roll_up = forms.BooleanField(label=_("count teams under a team for it"), required=False)
    cost_center = NameField(label=_("cost center"))
    user = forms.ModelChoiceField(User.objects.none(), label=_("user"), required=False)
    key = forms.ModelChoiceField(ApiKey.objects.none(), label=_("key"), required=False)
    model = NameField(label=_("model"))
    provider = NameField(label=_("provider"))
    scene = NameField(label=_("scene"))
    kind = forms.ChoiceField(label=_("kind"), required=False)
    session = NameField(label=_("session"))
    subagent = NameField(label=_("subagent"))
    currency = NameField(label=_("currency"))

    proposing = {
        "model": (Model, "model_id"),
        "provider": (Provider, "name"),
        "scene": (Scene, "name"),
        "cost_center": (Team, "cost_center"),
    }

    def __init__(self, request: HttpRequest, today: date, defaults: Mapping[str, str]) -> None:
        given = {name: request.GET[name] for name in self.base_fields if name in request.GET}
        if ("start" in given or "end" in given) and "period" not in given:
            given["period"] = "custom"
        super().__init__({"period": "month", "measure": "cost", **defaults, **given}, label_suffix="")
        self.today = today
        self.viewer = request.user if isinstance(request.user, User) else None
        self._limit_choices()
        self.proposals = {
            name: sorted(set(model._default_manager.values_list(column, flat=True)) - {""})
            for name, (model, column) in self.proposing.items()
        }
        for name in self.proposing:
            self.fields[name].widget.attrs["list"] = f"names-{name}"

    def _limit_choices(self) -> None:
        assert self.viewer is not None
        teams = visible(Team.objects.all(), self.viewer).order_by("name")
        none = {WITHOUT: _("(none)")}
        self._choose("team", {**{str(team.pk): team.name for team in teams}, **none})
        kinds = [kind for kind in RequestKind.values if kind != RequestKind.COUNT]
        self._choose("kind", {kind: kind_label(kind) for kind in (*kinds, *INNER_KINDS)})
        for name, rows in (("user", User.objects.all()), ("key", ApiKey.objects.select_related("user"))):
            field = self.fields[name]
            assert isinstance(field, forms.ModelChoiceField)
            field.queryset = visible(rows, self.viewer)
            widget = RowSelect(UsageDaily._meta.get_field(name), admin.site, attrs={"data-width": "16em"})
            widget.choices = field.choices
            field.widget = widget

    def _choose(self, name: str, choices: Mapping[str, Any]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = _choices(choices, _("all"))

    def clean(self) -> dict[str, Any]:
        """Check the days, and that two different things were chosen."""
        cleaned = super().clean() or {}
        if cleaned.get("then") and cleaned.get("then") == cleaned.get("by"):
            raise ValidationError({"then": _("Group by different things.")})
        if cleaned.get("period") == "custom" and not {"start", "end"} & self.errors.keys():
            if cleaned.get("start") is None or cleaned.get("end") is None:
                raise ValidationError({"start": _("Choose the first and the last day.")})
            try:
                Period(cleaned["start"], cleaned["end"])
            except BadQuery as error:
                raise ValidationError({"end": str(error)}) from error
        return cleaned

    def chosen_period(self) -> Period:
        """Return the days of a valid form."""
        cleaned = self.cleaned_data
        if cleaned["period"] == "custom":
            return Period(cleaned["start"], cleaned["end"])
        return period_of(cleaned["period"], self.today)

    def query(self) -> Query:
        """Return the question of a valid form."""
        cleaned = self.cleaned_data
        by = tuple(name for name in (cleaned["by"], cleaned["then"]) if name)
        return Query(self.chosen_period(), by, self.filters(), self.viewer, roll_up=cleaned["roll_up"])

    def filters(self) -> dict[str, Any]:
        """Return what a valid form filters by."""
        filters: dict[str, Any] = {}
        for name in FILTERS:
            value = self.cleaned_data[name]
            if value in (None, ""):
                continue
            if name == "team":
                filters[name] = None if value == WITHOUT else int(value)
            elif name in ("user", "key"):
                filters[name] = value.pk
            else:
                filters[name] = "" if value == WITHOUT else value
        return filters

    def is_filtered(self) -> bool:
        """Return whether a valid form leaves anything out."""
        return bool(self.filters())

"""Ordered lists of targets."""

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from providers.models import Model, name_validator
from providers.presets import wire_format_of
from providers.row import Row


class Route(Row):
    """An ordered list of targets."""

    class Order(models.TextChoices):
        PRIORITY = "priority", _("in the given order")
        WEIGHTED = "weighted", _("by weight")
        CHEAPEST = "cheapest", _("cheapest first")
        FASTEST = "fastest", _("fastest first")

    name = models.CharField(_("name"), max_length=60, unique=True, validators=[name_validator])
    targets: "models.ManyToManyField[Model, RouteEntry]" = models.ManyToManyField(
        Model, through="RouteEntry", related_name="routes", verbose_name=_("targets")
    )
    order = models.CharField(_("order"), max_length=10, choices=Order.choices, default=Order.PRIORITY)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("route")
        verbose_name_plural = _("routes")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def targets_of_another_wire(self) -> list[str]:
        """Return the names of the targets that are no Anthropic-compatible servers: a body cannot be passed to them."""
        models_of_route = Model.objects.filter(route_entries__route=self).select_related("provider")
        return [str(model) for model in models_of_route if wire_format_of(model.provider) != "anthropic"]


class RouteEntry(Row):
    """One target of a route."""

    route = models.ForeignKey(Route, models.CASCADE, related_name="entries", verbose_name=_("route"))
    model = models.ForeignKey(Model, models.PROTECT, related_name="route_entries", verbose_name=_("target"))
    position = models.PositiveIntegerField(_("position"), default=0)
    weight = models.PositiveIntegerField(_("weight"), default=1, validators=[MinValueValidator(1)])

    class Meta:
        verbose_name = _("target")
        verbose_name_plural = _("targets")
        ordering = ["position", "pk"]
        constraints = [models.UniqueConstraint("route", "model", name="routing_routeentry_unique_model")]

    def __str__(self) -> str:
        return str(self.model)

    def clean(self) -> None:
        if self.model_id is None or self.route_id is None or wire_format_of(self.model.provider) == "anthropic":
            return
        policy = self.route.policies.filter(mode="passthrough").first()
        if policy is not None:
            fault = _("%(target)s is no Anthropic-compatible server, and the policy %(policy)s passes calls through.")
            raise ValidationError(
                {"model": ValidationError(fault, params={"target": str(self.model), "policy": policy.name})}
            )

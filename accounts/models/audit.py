"""Who changed what: written with each change, never changed itself."""

from typing import Any, NoReturn

from django.db import models
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models.people import User


class AuditEntry(models.Model):
    """One change of one row, with the values before and after. Secrets are masked before they get here.

    The database refuses to change or delete an entry (migration 0004), whoever asks.
    """

    class Via(models.TextChoices):
        ADMIN = "admin", _("administration")
        API = "api", _("management API")
        COMMAND = "command", _("command")
        SYSTEM = "system", _("the gateway itself")

    class Action(models.TextChoices):
        CREATE = "create", pgettext_lazy("action", "created")
        CHANGE = "change", pgettext_lazy("action", "changed")
        DELETE = "delete", pgettext_lazy("action", "deleted")
        OTHER = "other", pgettext_lazy("action", "done")

    actor = models.ForeignKey(
        User, models.PROTECT, related_name="audit_entries", null=True, blank=True, verbose_name=_("who")
    )
    actor_name = models.CharField(_("name"), max_length=200, help_text=_("Of the person, key or command, as of then."))
    via = models.CharField(_("by way of"), max_length=10, choices=Via.choices)
    address = models.CharField(_("address"), max_length=45, blank=True)
    action = models.CharField(pgettext_lazy("action", "action"), max_length=10, choices=Action.choices)
    object_type = models.CharField(_("kind of object"), max_length=100, help_text=_("Such as accounts.apikey."))
    object_id = models.CharField(_("id of the object"), max_length=64, blank=True)
    object_name = models.CharField(_("object"), max_length=200, blank=True)
    changes = models.JSONField(_("changes"), default=dict, help_text=_("By field: the value before, and after."))
    note = models.CharField(_("note"), max_length=300, blank=True)
    at = models.DateTimeField(_("when"), default=timezone.now)

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit log")
        ordering = ["-at", "-pk"]
        indexes = [
            # The newest entries, and those of one object.
            models.Index(F("at").desc(), name="accounts_audit_newest"),
            models.Index("object_type", "object_id", name="accounts_audit_object"),
        ]

    def __str__(self) -> str:
        return f"{self.actor_name}: {self.object_type} {self.object_name}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Write a new entry. Raises `TypeError` for one that is there already."""
        if not self._state.adding:
            raise TypeError("An audit entry is never changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise `TypeError`: an audit entry is never deleted."""
        raise TypeError("An audit entry is never deleted.")

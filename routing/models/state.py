"""What the workers learn while calls run, and tell each other: failing targets, and the scenes of sessions."""

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class TargetHealth(models.Model):
    """How one model answers by one credential: its cooldown, and how fast it begins. No model: the whole platform."""

    provider_name = models.CharField(_("provider"), max_length=60)
    model_name = models.CharField(_("model"), max_length=200, blank=True)
    credential_name = models.CharField(_("credential"), max_length=60, blank=True)
    failures = models.PositiveIntegerField(_("failures in a row"), default=0)
    error_kind = models.CharField(_("error kind"), max_length=30, blank=True)
    http_status = models.PositiveSmallIntegerField(_("HTTP status"), null=True, blank=True)
    message = models.CharField(_("message"), max_length=500, blank=True)
    failed_at = models.DateTimeField(_("failed"), null=True, blank=True)
    cooling_until = models.DateTimeField(_("tried last until"), null=True, blank=True)
    ttft_ms = models.FloatField(
        _("time to first token (ms)"), null=True, blank=True, help_text=_("Exponentially weighted average.")
    )
    updated_at = models.DateTimeField(_("changed"), default=timezone.now)

    class Meta:
        verbose_name = _("health of a target")
        verbose_name_plural = _("health of targets")
        ordering = ["provider_name", "model_name", "credential_name"]
        constraints = [
            # The conflict target of the workers' upsert.
            models.UniqueConstraint(
                "provider_name", "model_name", "credential_name", name="routing_targethealth_unique_target"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider_name}/{self.model_name or '*'} {self.credential_name}".strip()


class StickySession(models.Model):
    """The scene and the target that the last turn of a session went to."""

    # A digest of the caller, the client's session id and its agent id: a session is never shared by two keys' owners.
    key = models.CharField(max_length=64, primary_key=True)
    policy_name = models.CharField(_("policy"), max_length=60)
    scene_name = models.CharField(_("scene"), max_length=50)
    target_name = models.CharField(_("target"), max_length=261, blank=True)
    used_at = models.DateTimeField(_("last call"))

    class Meta:
        verbose_name = _("session")
        verbose_name_plural = _("sessions")
        # The reaper deletes those that have been idle for longer than any policy allows.
        indexes = [models.Index("used_at", name="routing_session_idle")]

    def __str__(self) -> str:
        return f"{self.key[:12]}: {self.scene_name}"

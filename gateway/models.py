"""What the gateway keeps of an exchange for inspection."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import CallRecord


class Capture(models.Model):
    """The four stages of one exchange, each zlib-compressed JSON (gateway/capture.py). Written off the call's path."""

    call = models.OneToOneField(
        CallRecord, models.CASCADE, primary_key=True, related_name="capture", verbose_name=_("call")
    )
    client_request = models.BinaryField(_("request of the client"))
    upstream_request = models.BinaryField(_("request sent upstream"))
    upstream_response = models.BinaryField(_("raw answer of the upstream"))
    client_response = models.BinaryField(_("answer to the client"))
    is_full = models.BooleanField(_("with bodies"), default=False)
    is_truncated = models.BooleanField(_("cut"), default=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    expires_at = models.DateTimeField(_("expires"))

    class Meta:
        verbose_name = _("capture")
        verbose_name_plural = _("captures")
        ordering = ["-created_at"]
        indexes = [
            # purge_captures: what has expired.
            models.Index("expires_at", name="gateway_capture_expiry"),
        ]

    def __str__(self) -> str:
        return str(self.call)

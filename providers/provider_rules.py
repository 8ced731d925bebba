"""What a provider's row must hold to: an address that can be asked, flags and headers that mean something."""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from providers.network import is_private_url
from providers.presets import PRESETS, base_url_of, check_flags

if TYPE_CHECKING:
    from providers.models import Provider

_HEADER_NAME = re.compile(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_RESERVED_HEADERS = frozenset(
    {
        "authorization",
        "x-api-key",
        "api-key",
        "cookie",
        "host",
        "content-length",
        "content-encoding",
        "content-type",
        "transfer-encoding",
        "accept-encoding",
        "connection",
        "upgrade",
    }
)


def validate_provider(provider: "Provider") -> None:
    """Raise `ValidationError` with a message per field of `provider` that cannot work."""
    faults: dict[str, list[Any]] = {}
    preset = PRESETS.get(provider.kind)
    if preset is None:
        raise ValidationError({"kind": _("Unknown kind.")})
    wire_format = provider.wire_format or preset.wire_format
    base_url = base_url_of(provider.kind, provider.base_url, wire_format)
    if fault := _base_url_fault(base_url, allow_private=provider.allow_private_network or preset.local):
        faults["base_url"] = [fault]
    if flag_faults := list(check_flags(provider.flags)):
        faults["flags"] = list(flag_faults)
    if header_faults := list(_header_faults(provider.extra_headers)):
        faults["extra_headers"] = list(header_faults)
    if provider.forwards_client_credential and wire_format != "anthropic":
        faults["forwards_client_credential"] = [
            _("Only a provider of the wire format Anthropic Messages can get the client's own credential.")
        ]
    if faults:
        raise ValidationError(faults)


def _base_url_fault(base_url: str, *, allow_private: bool) -> Any:
    if not base_url:
        return _("A base URL is needed: this kind has no usual address for this wire format.")
    try:
        parts = urlsplit(base_url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        return _("This is not a URL.")
    if parts.scheme not in ("http", "https") or not host:
        return _("Use an http or https URL with a host.")
    if parts.username is not None or parts.password is not None:
        return _("Store the secret as a credential, not in the URL.")
    if not allow_private and is_private_url(base_url):
        return _("This is a private address. Allow private networks for this provider if that is meant.")
    return None


def _header_faults(headers: Any) -> Iterable[str]:
    if not isinstance(headers, Mapping):
        yield "extra headers must be a JSON object of strings"
        return
    for name, value in headers.items():
        if not _HEADER_NAME.match(name) or name.lower() in _RESERVED_HEADERS:
            yield f"{name}: not a header that can be set here"
        elif not isinstance(value, str) or not value.isprintable() or not value.isascii():
            yield f"{name}: must be a string of printable ASCII characters"

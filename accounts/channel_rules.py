"""What a notification channel must be like: pure checks, for the model, its form and configuration files."""

from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from providers.network import is_private_url

# Where the robots of each platform live. Another host is possible (a proxy, a private installation) and worth a word.
HOSTS: dict[str, tuple[str, ...]] = {
    "feishu": ("open.feishu.cn", "open.larksuite.com"),
    "dingtalk": ("oapi.dingtalk.com",),
    "wecom": ("qyapi.weixin.qq.com",),
    "slack": ("hooks.slack.com",),
}
# WeCom and Slack have no signatures: their addresses are all the secret there is.
SIGNED = frozenset({"feishu", "dingtalk", "webhook"})
MAX_URL = 1000


def clean_url(url: str, *, allows_private: bool) -> str:
    """Return the host of `url`. Raises `ValidationError` for what no message should be sent to."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        raise ValidationError(_("This is not a URL.")) from error
    if parts.scheme not in ("http", "https") or not host or len(url) > MAX_URL:
        raise ValidationError(_("Enter the whole address of the robot, with https://."))
    if not (url.isascii() and url.isprintable()) or " " in url or parts.fragment:
        raise ValidationError(_("This is not a URL."))
    if parts.username is not None or parts.password is not None:
        raise ValidationError(_("Leave user and password out of the URL."))
    if not allows_private:
        if is_private_url(url):
            raise ValidationError(_("This is a private address. Allow the private network if that is meant."))
        if parts.scheme != "https":
            raise ValidationError(_("Use https: the address itself is a secret."))
    return host


def host_hint(kind: str, host: str) -> str:
    """Return the hosts that robots of `kind` have, if `host` is none of them, else ""."""
    known = HOSTS.get(kind, ())
    return "" if not known or host in known else ", ".join(known)

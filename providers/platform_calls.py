"""A few sync calls to a platform beside the way of a call: its list of models, its check of a credential."""

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx

from providers import wire_json
from providers.clients.anthropic_headers import ANTHROPIC_VERSION, OAUTH_BETA
from providers.encryption import Undecryptable
from providers.errors import ErrorKind, UpstreamError, classify, one_line
from providers.model_lists import FoundModel, NotAList, read_list, read_ollama_model
from providers.models import Provider
from providers.network import is_private, is_private_url
from providers.presets import PRESETS, base_url_of, credential_headers, endpoint, server_root

_TIMEOUT = httpx.Timeout(10.0, connect=5.0)
# Ollama describes one model per request.
_SHOW_BUDGET_S = 60.0


class Platform:
    """A provider to be asked: its address, credential and an HTTP client for a few calls."""

    def __init__(self, provider: Provider, client: httpx.Client) -> None:
        preset = PRESETS[provider.kind]
        self.provider = provider
        self.client = client
        self.wire_format = provider.wire_format or preset.wire_format
        self.base_url = base_url_of(provider.kind, provider.base_url, self.wire_format)
        self.root = server_root(self.base_url)
        self.secret = _secret_of(provider)
        self.headers = {"accept": "application/json", **preset.extra_headers, **(provider.extra_headers or {})}
        if self.wire_format == "anthropic":
            self.headers["anthropic-version"] = ANTHROPIC_VERSION
            if self.secret.startswith("sk-ant-oat"):
                self.headers["anthropic-beta"] = OAUTH_BETA
        if self.secret:
            self.headers |= credential_headers(provider.kind, self.base_url, self.wire_format, self.secret)

    def ask(self, url: str, body: Any = None) -> Any:
        """Return the JSON at `url`, by POST where there is a body. Raises `UpstreamError`."""
        try:
            if body is None:
                answer = self.client.get(url, headers=self.headers)
            else:
                answer = self.client.post(url, headers=self.headers, json=body)
        except httpx.TimeoutException as error:
            raise self.error(ErrorKind.TIMEOUT, "no answer came in time") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self.error(ErrorKind.UNREACHABLE, str(error) or "no connection") from error
        if answer.status_code != 200:
            raise classify(
                answer.status_code,
                answer.headers,
                answer.content,
                provider=self.provider.name,
                kind=self.provider.kind,
                secret=self.secret,
            )
        try:
            return wire_json.decode(answer.content)
        except ValueError as error:
            raise self.error(
                ErrorKind.BAD_RESPONSE, "the answer is not JSON; is this the base URL of an API?"
            ) from error

    def error(self, kind: ErrorKind, message: str) -> UpstreamError:
        return UpstreamError(kind, one_line(message, secret=self.secret), provider=self.provider.name)

    def models(self) -> list[FoundModel]:
        """Return the platform's models. Raises `UpstreamError`."""
        kind = self.provider.kind
        if self.wire_format == "anthropic":
            # Relays without a list of their own answer 404 or a page.
            return self._list(endpoint(self.base_url, "anthropic", "/models?limit=1000"))
        if kind == "ollama":
            return self._ollama_models()
        if kind == "lmstudio":
            for path in ("/api/v1/models", "/api/v0/models"):
                try:
                    return self._list(self.root + path)
                except UpstreamError as error:
                    if error.kind not in (ErrorKind.NOT_FOUND, ErrorKind.BAD_RESPONSE, ErrorKind.INVALID_REQUEST):
                        raise
            return self._list(endpoint(self.base_url, "openai", "/models"))
        return self._list(endpoint(self.base_url, "openai", PRESETS[kind].models_path))

    def _list(self, url: str) -> list[FoundModel]:
        is_openai = (urlsplit(url).hostname or "").endswith("api.openai.com")
        document = self.ask(url)
        try:
            return read_list(document, hides_other_kinds=is_openai or self.provider.kind == "dashscope")
        except NotAList as error:
            raise self.error(ErrorKind.BAD_RESPONSE, "the answer is not a list of models") from error

    def _ollama_models(self) -> list[FoundModel]:
        try:
            listed = self.ask(self.root + "/api/tags")
        except UpstreamError as error:
            if error.kind is not ErrorKind.NOT_FOUND:
                raise
            return self._list(endpoint(self.base_url, "openai", "/models"))  # a proxy that shows /v1 only
        names = [model.model_id for model in read_list(listed)]
        try:
            loaded = self.ask(self.root + "/api/ps")
        except UpstreamError:
            loaded = {}  # older servers; only the allocated window is unknown then
        allocated = {
            item.get("model") or item.get("name"): item.get("context_length")
            for item in (loaded.get("models") if isinstance(loaded, Mapping) else None) or ()
            if isinstance(item, Mapping)
        }
        until = time.monotonic() + _SHOW_BUDGET_S
        found = []
        for name in names:
            window = allocated.get(name)
            shown: Any = {}
            if time.monotonic() < until:
                try:
                    shown = self.ask(self.root + "/api/show", {"model": name})
                except UpstreamError as error:
                    if error.kind in (ErrorKind.UNREACHABLE, ErrorKind.TIMEOUT):
                        raise
            model = read_ollama_model(name, shown, window if isinstance(window, int) else None)
            if model is not None:
                found.append(model)
        return found


@contextmanager
def open_platform(provider: Provider, transport: httpx.BaseTransport | None) -> Iterator[Platform]:
    """Open a client for a few calls. Raises `UpstreamError` for a private address that is not allowed."""
    with httpx.Client(transport=transport, trust_env=False, follow_redirects=False, timeout=_TIMEOUT) as client:
        platform = Platform(provider, client)
        if not (provider.allow_private_network or PRESETS[provider.kind].local) and _leads_home(
            platform.base_url, resolves=transport is None
        ):
            message = "the base URL is a private address; the provider must allow private networks"
            raise platform.error(ErrorKind.UNREACHABLE, message)
        yield platform


def _leads_home(base_url: str, *, resolves: bool) -> bool:
    """Say whether `base_url` is a private address, or (if it `resolves`) a name of one.

    The name is resolved again for the connection; an answer that changes in between would pass. The hot path has no
    such gap, and here an administrator asks for a list.
    """
    if is_private_url(base_url) or not resolves:
        return is_private_url(base_url)
    try:
        found = socket.getaddrinfo(urlsplit(base_url).hostname, None)
    except OSError:
        return False  # the call will say so
    return any(is_private(str(address[4][0])) for address in found)


def _secret_of(provider: Provider) -> str:
    """Return the first enabled credential that can be decrypted, "" without one."""
    for row in provider.credentials.filter(is_enabled=True).order_by("position", "pk"):
        try:
            return row.secret()
        except Undecryptable:
            continue
    return ""

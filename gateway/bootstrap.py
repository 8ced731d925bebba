"""What an empty installation needs: an administrator, providers of the environment, a policy, a scene, a first key.

Every step looks first whether it is done: a second run changes nothing and says nothing.
"""

import secrets
from collections.abc import Callable, Mapping

import httpx
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import keys
from accounts.models import ApiKey, User
from providers.catalog import refresh_models
from providers.errors import UpstreamError
from providers.models import Credential, Model, Price, Provider
from providers.network import is_private_url
from providers.presets import PRESETS
from routing.model_choice import DEFAULT_ROUTE, fill_default_route
from routing.models import Policy, Route
from routing.offered import first_scene

Say = Callable[[str], object]

DEFAULT_NAME = "default"
FIRST_KEY_NAME = "first"
DEMO_PROVIDER_NAME = "demo"
DEMO_MODEL_ID = "smollm2-135m-instruct"
_PROBE_TIMEOUT_S = 0.5


# The kinds of providers that the environment can set up, and the names that they get.
_OFFERS = {
    "anthropic_compatible": "anthropic",
    "dashscope": "dashscope",
    "openrouter": "openrouter",
    "siliconflow": "siliconflow",
    "openai_compatible": "openai",
    "ollama": "ollama",
    "lmstudio": "lmstudio",
}
# A local platform is set up when it answers here.
_PROBES = {"ollama": "/api/version", "lmstudio": "/v1/models"}


def bootstrap(say: Say, *, demo_port: int | None = None, transport: httpx.BaseTransport | None = None) -> str | None:
    """Set up what is missing and return the secret of the first key, if it was made just now.

    `demo_port` registers the demo model server on loopback. `transport` replaces the network, for tests.
    """
    administrator = _administrator(say)
    if demo_port is not None:
        _demo(demo_port, say)
    for kind, name in _OFFERS.items():
        _provider(kind, name, settings.BOOTSTRAP.get(kind, {}), say, transport)
    _policy(say)
    first_scene(settings.LANGUAGE_CODE)
    return _first_key(administrator, say) if administrator is not None else None


def _administrator(say: Say) -> User | None:
    """Return the first administrator, made if there is none; a password of ours must be changed at the first login.

    None when the name belongs to somebody: nobody becomes an administrator, or active again, without being asked.
    """
    existing = User.objects.filter(is_superuser=True, is_active=True).order_by("pk").first()
    if existing is not None:
        return existing
    wanted = settings.BOOTSTRAP["superuser"]
    if User.objects.filter(username=wanted["username"]).exists():
        say(f"No active administrator, and the name {wanted['username']} is taken: set DJANGO_SUPERUSER_USERNAME,")
        say("  or run `manage.py createsuperuser`.")
        return None
    given = wanted["password"]
    password = given or secrets.token_urlsafe(12)
    user = User.objects.create_superuser(wanted["username"], wanted["email"], password)
    if given:
        say(f"Administrator {user.username} made, with the password of DJANGO_SUPERUSER_PASSWORD.")
        return user
    user.must_change_password = True
    user.save(update_fields=["must_change_password"])
    say(f"Administrator made: user {user.username}, password {password}")
    say("  It is shown only now, and must be changed at the first login.")
    return user


def _provider(kind: str, name: str, wanted: Mapping[str, str], say: Say, transport: httpx.BaseTransport | None) -> None:
    """Set up the provider `name` if the environment has a key for it, or if it answers on this machine."""
    provider = Provider.objects.filter(name=name).first()
    if provider is None:
        api_key, base_url = wanted.get("api_key", ""), wanted.get("base_url", "")
        if kind in _PROBES:
            if not _answers(base_url or PRESETS[kind].base_url, _PROBES[kind], transport):
                return
        elif not api_key:
            return
        try:
            provider = _made(kind, name, base_url, api_key)
        except ValidationError as error:
            say(f"Provider {name} cannot be set up: {' '.join(error.messages)}")
            return
        say(f"Provider {name} set up.")
    elif not provider.is_enabled or provider.kind != kind or provider.models.exists():
        return
    try:
        found = refresh_models(provider, transport=transport)
    except UpstreamError as error:
        # The others must not wait for this one; the admin shows and repeats it.
        say(f"Provider {name}: its list of models could not be read: {error.message}")
    else:
        say(f"Provider {name}: {found.added} models found.")


def _answers(base_url: str, path: str, transport: httpx.BaseTransport | None) -> bool:
    root = base_url.rstrip("/").removesuffix("/v1")
    with httpx.Client(transport=transport, trust_env=False, timeout=_PROBE_TIMEOUT_S) as client:
        try:
            return client.get(root + path).status_code == 200
        except (httpx.HTTPError, httpx.InvalidURL):
            return False


@transaction.atomic
def _made(kind: str, name: str, base_url: str, api_key: str) -> Provider:
    # Whoever writes a private address into the environment means it.
    provider = Provider(name=name, kind=kind, base_url=base_url, allow_private_network=is_private_url(base_url))
    provider.full_clean()
    provider.save()
    if api_key:
        credential = Credential(provider=provider)
        credential.set_secret(api_key)
        credential.save()
    return provider


@transaction.atomic
def _demo(port: int, say: Say) -> None:
    """Register the demo model server, or follow it to its new port."""
    base_url = f"http://127.0.0.1:{port}/v1"
    provider, is_new = Provider.objects.get_or_create(
        name=DEMO_PROVIDER_NAME,
        defaults={
            "kind": Provider.Kind.OPENAI_COMPATIBLE,
            "base_url": base_url,
            "allow_private_network": True,
            "flags": {"buffer_tool_args": True, "json_schema": True, "reasoning_replay": "drop"},
        },
    )
    if not is_new and provider.base_url != base_url:
        provider.base_url = base_url
        provider.save(update_fields=["base_url", "updated_at"])
    model, is_new_model = Model.objects.get_or_create(
        provider=provider,
        model_id=DEMO_MODEL_ID,
        defaults={
            "display_name": "SmolLM2 135M",
            "context_window": 8192,
            # The model does not always find an end by itself.
            "max_output_tokens": 256,
            "capabilities": ["tools"],
            "is_manual": True,
        },
    )
    if is_new_model:
        Price.objects.create(
            model=model, currency="USD", input_per_million=0, output_per_million=0, source=Price.Source.BUNDLED
        )
        say(f"Provider {DEMO_PROVIDER_NAME} set up: a small local model, for trying things out.")


@transaction.atomic
def _policy(say: Say) -> None:
    """Make the default policy if there is none, and fill the default route as long as it is empty."""
    policy = Policy.objects.filter(is_default=True).select_related("route").first()
    if policy is None:
        route, _is_new = Route.objects.get_or_create(name=DEFAULT_ROUTE)
        policy, _is_new = Policy.objects.get_or_create(name=DEFAULT_NAME, defaults={"route": route})
        policy.is_default = True
        policy.save(update_fields=["is_default"])
    if policy.route is not None and policy.route.name == DEFAULT_ROUTE and (models := fill_default_route()):
        say(f"Calls go to {', '.join(str(model) for model in models)}, in this order.")


def _first_key(administrator: User, say: Say) -> str | None:
    """Make the administrator's first key unless there is any key at all; return its secret."""
    if ApiKey.objects.exists():
        return None
    _key, secret = keys.issue(administrator, FIRST_KEY_NAME)
    say(f"API key {administrator.username}/{FIRST_KEY_NAME} made. It is shown only now:")
    say(f"  {secret}")
    return secret

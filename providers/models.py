"""Platforms, their credentials, models and prices."""

from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from providers.price_rows import clean_tiers, zone_named
from providers.row import Row

# A provider's name is the part before the slash of a target, `provider/model`.
name_validator = RegexValidator(
    r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z",
    _("Use letters, digits, dot, hyphen, underscore; start with a letter or digit."),
)

CAPABILITIES = ("tools", "vision", "pdf", "thinking")


class ConfigVersion(models.Model):
    """One row: the number that moves whenever a configuration row changes."""

    number = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="providers_configversion_one_row")]

    def __str__(self) -> str:
        return str(self.number)


class Provider(Row):
    """A platform account that answers calls: its address, wire format and timeouts."""

    class Kind(models.TextChoices):
        OPENAI_COMPATIBLE = "openai_compatible", _("OpenAI compatible")
        ANTHROPIC_COMPATIBLE = "anthropic_compatible", _("Anthropic compatible")
        DASHSCOPE = "dashscope", _("Alibaba DashScope")
        OPENROUTER = "openrouter", "OpenRouter"
        SILICONFLOW = "siliconflow", _("SiliconFlow")
        OLLAMA = "ollama", "Ollama"
        LMSTUDIO = "lmstudio", "LM Studio"
        LLAMACPP = "llamacpp", "llama.cpp"
        DEEPSEEK = "deepseek", "DeepSeek"
        KIMI = "kimi", _("Moonshot Kimi")
        ZHIPU = "zhipu", _("Zhipu GLM")
        MINIMAX = "minimax", "MiniMax"

    class WireFormat(models.TextChoices):
        OPENAI = "openai", _("OpenAI Chat Completions")
        ANTHROPIC = "anthropic", _("Anthropic Messages")

    name = models.CharField(
        _("name"),
        max_length=60,
        unique=True,
        validators=[name_validator],
        help_text=_("Targets are written name/model."),
    )
    kind = models.CharField(_("kind"), max_length=30, choices=Kind.choices)
    base_url = models.CharField(
        _("base URL"),
        max_length=500,
        blank=True,
        help_text=_("Empty: the usual address of this kind. With or without a trailing /v1."),
    )
    wire_format = models.CharField(
        _("wire format"),
        max_length=10,
        choices=WireFormat.choices,
        blank=True,
        help_text=_("Empty: the usual one of this kind."),
    )
    flags = models.JSONField(
        _("dialect flags"),
        default=dict,
        blank=True,
        help_text=_("What differs from the dialect of this kind, as a JSON object."),
    )
    forwards_client_credential = models.BooleanField(
        _("forward the client's own credential"),
        default=False,
        help_text=_(
            "Anthropic wire only. Clients send their gateway key in the header x-gateway-key, and Authorization or "
            "x-api-key goes to this platform instead of a stored credential."
        ),
    )
    extra_headers = models.JSONField(
        _("extra headers"), default=dict, blank=True, help_text=_("Sent with every call, as a JSON object of strings.")
    )
    connect_timeout_s = models.FloatField(
        _("connect timeout (s)"), null=True, blank=True, validators=[MinValueValidator(0.1)]
    )
    first_event_timeout_s = models.FloatField(
        _("first event timeout (s)"), null=True, blank=True, validators=[MinValueValidator(0.1)]
    )
    idle_timeout_s = models.FloatField(
        _("idle timeout (s)"), null=True, blank=True, validators=[MinValueValidator(0.1)]
    )
    total_timeout_s = models.FloatField(
        _("total timeout (s)"), null=True, blank=True, validators=[MinValueValidator(0.1)]
    )
    max_concurrency = models.PositiveIntegerField(
        _("calls at the same time"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("Of all workers together. Empty: no limit."),
    )
    allow_private_network = models.BooleanField(
        _("allow private network"),
        default=False,
        help_text=_("Needed for loopback and private addresses, except for Ollama and LM Studio."),
    )
    is_enabled = models.BooleanField(_("enabled"), default=True)
    checked_at = models.DateTimeField(_("last tested"), null=True, blank=True, editable=False)
    check_result = models.CharField(_("test result"), max_length=300, blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("provider")
        verbose_name_plural = _("providers")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        from providers.provider_rules import validate_provider

        validate_provider(self)


class Credential(Row):
    """A secret of a provider account, encrypted at rest and never shown again."""

    provider = models.ForeignKey(Provider, models.CASCADE, related_name="credentials", verbose_name=_("provider"))
    name = models.CharField(_("name"), max_length=60, default="default")
    encrypted_secret = models.TextField(_("secret"), editable=False)
    last_four = models.CharField(_("last four characters"), max_length=4, blank=True, editable=False)
    position = models.PositiveIntegerField(_("position"), default=0)
    is_enabled = models.BooleanField(_("enabled"), default=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("credential")
        verbose_name_plural = _("credentials")
        ordering = ["provider_id", "position", "pk"]
        constraints = [
            models.UniqueConstraint("provider", "name", name="providers_credential_unique_name"),
        ]

    def __str__(self) -> str:
        return f"{self.name} (…{self.last_four})" if self.last_four else self.name

    def set_secret(self, secret: str) -> None:
        """Encrypt `secret` into this row; the caller saves."""
        from providers.encryption import encrypt

        self.encrypted_secret = encrypt(secret)
        # Of a short secret four characters would be too much of it.
        self.last_four = secret[-4:] if len(secret) >= 12 else ""

    def secret(self) -> str:
        """Return the decrypted secret. Raises `providers.encryption.Undecryptable`."""
        from providers.encryption import decrypt

        return decrypt(self.encrypted_secret)


class Model(Row):
    """A model that a provider offers."""

    provider = models.ForeignKey(Provider, models.CASCADE, related_name="models", verbose_name=_("provider"))
    model_id = models.CharField(_("model id"), max_length=200, help_text=_("As the platform writes it."))
    display_name = models.CharField(_("display name"), max_length=200, blank=True)
    context_window = models.PositiveIntegerField(_("context window (tokens)"), null=True, blank=True)
    max_output_tokens = models.PositiveIntegerField(_("output limit (tokens)"), null=True, blank=True)
    capabilities = models.JSONField(
        _("capabilities"),
        null=True,
        blank=True,
        help_text=_('List of "tools", "vision", "pdf", "thinking". Empty: unknown, nothing is withheld.'),
    )
    flags = models.JSONField(
        _("dialect flags"),
        default=dict,
        blank=True,
        help_text=_("What differs from the provider's dialect, as a JSON object."),
    )
    token_ratio = models.FloatField(
        _("token ratio"), default=1.0, help_text=_("Real prompt tokens per estimated token, learned from calls.")
    )
    compatibility = models.JSONField(
        _("compatibility card"), null=True, blank=True, editable=False, help_text=_("What the self-test found.")
    )
    compatibility_checked_at = models.DateTimeField(_("last self-test"), null=True, blank=True, editable=False)
    is_enabled = models.BooleanField(_("enabled"), default=True)
    is_manual = models.BooleanField(
        _("entered by hand"), default=False, help_text=_("A refresh of the list leaves it alone.")
    )
    missing_since = models.DateTimeField(_("missing since"), null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("model")
        verbose_name_plural = _("models")
        ordering = ["provider__name", "model_id"]
        constraints = [
            models.UniqueConstraint("provider", "model_id", name="providers_model_unique_id"),
            models.CheckConstraint(condition=Q(token_ratio__gt=0), name="providers_model_ratio_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.provider.name}/{self.model_id}"

    def clean(self) -> None:
        from providers.presets import validate_flags

        validate_flags(self.flags)


class Price(Row):
    """What a model costs from a moment on, per million tokens. Appended, never changed, so history does not move."""

    class Source(models.TextChoices):
        ADMIN = "admin", _("entered by an administrator")
        CONFIG = "config", _("configuration file")
        BUNDLED = "bundled", _("bundled list")

    model = models.ForeignKey(Model, models.CASCADE, related_name="prices", verbose_name=_("model"))
    currency = models.CharField(_("currency"), max_length=3, validators=[RegexValidator(r"^[A-Z]{3}\Z")])
    input_per_million = models.DecimalField(_("input"), max_digits=14, decimal_places=6)
    output_per_million = models.DecimalField(_("output"), max_digits=14, decimal_places=6)
    cache_read_per_million = models.DecimalField(
        _("cache read"), max_digits=14, decimal_places=6, null=True, blank=True, help_text=_("Empty: as input.")
    )
    cache_write_per_million = models.DecimalField(
        _("cache write"), max_digits=14, decimal_places=6, null=True, blank=True, help_text=_("Empty: as input.")
    )
    cache_write_1h_per_million = models.DecimalField(
        _("cache write for 1 hour"),
        max_digits=14,
        decimal_places=6,
        null=True,
        blank=True,
        help_text=_("Empty: as cache write."),
    )
    tiers = models.JSONField(
        _("tiers"),
        default=list,
        blank=True,
        help_text=_(
            "Prices of a whole call whose input exceeds a size, as a JSON list of objects: above (tokens), input, "
            "output, cache_read, cache_write, cache_write_1h."
        ),
    )
    time_from = models.TimeField(
        _("from"), null=True, blank=True, help_text=_("In force only at this time of day. A span may pass midnight.")
    )
    time_until = models.TimeField(_("until"), null=True, blank=True)
    time_zone = models.CharField(
        _("time zone"), max_length=60, blank=True, help_text=_("Of the times of day. Empty: the business time zone.")
    )
    source = models.CharField(_("source"), max_length=10, choices=Source.choices, default=Source.ADMIN)
    source_note = models.CharField(_("where it is from"), max_length=200, blank=True)
    valid_from = models.DateTimeField(_("valid from"), default=timezone.now)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("price")
        verbose_name_plural = _("prices")
        ordering = ["model_id", "-valid_from"]
        constraints = [
            models.CheckConstraint(
                condition=Q(input_per_million__gte=0)
                & Q(output_per_million__gte=0)
                & (Q(cache_read_per_million__isnull=True) | Q(cache_read_per_million__gte=0))
                & (Q(cache_write_per_million__isnull=True) | Q(cache_write_per_million__gte=0)),
                name="providers_price_not_negative",
            ),
        ]
        indexes = [
            # The price in force: newest valid_from of one model that is not in the future.
            models.Index(F("model"), F("valid_from").desc(), name="providers_price_in_force"),
        ]

    def __str__(self) -> str:
        return f"{self.currency} {self.input_per_million.normalize():f} / {self.output_per_million.normalize():f}"

    def values(self) -> dict[str, Any]:
        """Return the figures alone, for comparison with another price."""
        return {
            "currency": self.currency,
            "input": Decimal(self.input_per_million),
            "output": Decimal(self.output_per_million),
            "cache_read": self.cache_read_per_million,
            "cache_write": self.cache_write_per_million,
            "cache_write_1h": self.cache_write_1h_per_million,
            "tiers": self.tiers,
            "from": self.time_from,
            "until": self.time_until,
            "time_zone": self.time_zone,
        }

    def clean(self) -> None:
        """Raise `ValidationError` by field for negative prices, wrong tiers and hours that are none."""
        problems: dict[str, Any] = {}
        for name in ("input", "output", "cache_read", "cache_write", "cache_write_1h"):
            price = getattr(self, f"{name}_per_million")
            if price is not None and price < 0:
                problems[f"{name}_per_million"] = _("A price is at least 0.")
        try:
            self.tiers = clean_tiers(self.tiers)
        except ValidationError as error:
            problems["tiers"] = error.messages
        if (self.time_from is None) != (self.time_until is None):
            missing = "time_until" if self.time_until is None else "time_from"
            problems[missing] = _("Enter both times, or none.")
        elif self.time_from is not None and self.time_from == self.time_until:
            problems["time_until"] = _("The span is empty; leave both times out for the whole day.")
        if self.time_zone and zone_named(self.time_zone) is None:
            problems["time_zone"] = _("There is no such time zone. Enter one like Asia/Shanghai.")
        elif self.time_zone and self.time_from is None and self.time_until is None:
            problems["time_zone"] = _("A time zone without times says nothing.")
        if problems:
            raise ValidationError(problems)

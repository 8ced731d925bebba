"""A model that can be asked, with all that asking it takes: the frozen form of the rows, free of the ORM."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, time
from decimal import Decimal
from zoneinfo import ZoneInfo

from providers.native_dialect import ANTHROPIC, NativeDialect
from providers.translation.dialect import Dialect

# The id of a model row that stands for whatever name the client asks for.
ANY_MODEL = "*"


def price_in_force(prices: "Iterable[DatedPrice]", moment: datetime) -> "PriceList | None":
    """Return the price at `moment` among `prices`, newest first: one without hours ends all that were before it."""
    for dated in prices:
        if dated.valid_from <= moment and (dated.hours is None or dated.hours.hold(moment)):
            return dated.price
    return None


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, to the first event, between chunks, of the whole call."""

    connect_s: float
    first_event_s: float
    idle_s: float
    total_s: float


@dataclass(frozen=True, slots=True)
class Tier:
    """The prices of a whole call whose input, cached and not, exceeds `above_tokens`. Per million tokens."""

    above_tokens: int
    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write: Decimal
    cache_write_1h: Decimal | None = None  # as cache_write


@dataclass(frozen=True, slots=True)
class PriceList:
    """Prices per million tokens, in `currency`. They hold up to the first tier."""

    currency: str
    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write: Decimal
    source: str  # a CallRecord.CostSource value
    tiers: tuple[Tier, ...] = ()  # by rising `above_tokens`
    cache_write_1h: Decimal | None = None  # as cache_write


@dataclass(frozen=True, slots=True)
class Hours:
    """A span of every day by the clock of `zone`, from `begin` until before `end`; it may pass midnight."""

    begin: time
    end: time
    zone: ZoneInfo

    def hold(self, moment: datetime) -> bool:
        """Return whether the clock of the zone shows a time of the span at `moment`."""
        clock = moment.astimezone(self.zone).time()
        if self.begin < self.end:
            return self.begin <= clock < self.end
        return clock >= self.begin or clock < self.end


@dataclass(frozen=True, slots=True)
class DatedPrice:
    """A price list that holds from a moment on, always or at some hours of the day."""

    valid_from: datetime
    price: PriceList
    hours: Hours | None = None


@dataclass(frozen=True, slots=True)
class Secret:
    """A decrypted provider credential. Its value never shows in a repr."""

    name: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SearchBackend:
    """The search engine that runs web searches for models without one."""

    kind: str  # "searxng" | "tavily"
    url: str
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Target:
    """One model of one provider."""

    provider_name: str
    kind: str  # a key of providers.presets.PRESETS
    wire_format: str  # "openai" | "anthropic"
    base_url: str  # normalised: without a trailing slash (see providers.presets.endpoint)
    secrets: tuple[Secret, ...]  # in order of use; empty for platforms without authentication
    model_id: str
    timeouts: Timeouts
    dialect: Dialect
    native: NativeDialect = ANTHROPIC  # what its Messages endpoint takes; of the Anthropic wire only
    forwards_client_credential: bool = False  # the client's own credential goes up, where it sent one
    context_window: int | None = None
    max_output_tokens: int | None = None
    capabilities: frozenset[str] | None = None  # None: unknown, nothing is withheld
    price: PriceList | None = None  # when the target was loaded
    dated_prices: tuple[DatedPrice, ...] = ()  # of the rows, newest first; with them `price_at` knows each moment's
    listed_price: PriceList | None = None  # of the lists, where no row holds
    token_ratio: float = 1.0
    allow_private_network: bool = False
    extra_headers: Mapping[str, str] = field(default_factory=dict)
    model_pk: int = 0
    max_concurrency: int | None = None  # calls of the provider at the same time, of all workers together

    def can(self, capability: str) -> bool:
        """Say whether the model has a capability, as far as is known."""
        if capability == "vision" and not self.dialect.vision:
            return False
        return self.capabilities is None or capability in self.capabilities

    def price_at(self, moment: datetime) -> PriceList | None:
        """Return the price of a call that starts at `moment`."""
        if not self.dated_prices:
            return self.price
        return price_in_force(self.dated_prices, moment) or self.listed_price

    @property
    def continues_text(self) -> bool:
        """Say whether the model goes on from the text of a trailing assistant message."""
        return self.native.native_prefill if self.wire_format == "anthropic" else self.dialect.prefill

    @property
    def takes_documents(self) -> bool:
        """Say whether PDF files go out as they are; else their text does."""
        if self.wire_format == "anthropic":
            return self.native.native_documents and (self.native.is_anthropic or self.can("pdf"))
        return self.dialect.pdf

    @property
    def name(self) -> str:
        """`provider/model`, as configuration files and clients write it."""
        return f"{self.provider_name}/{self.model_id}"

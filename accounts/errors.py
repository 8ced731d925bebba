"""Why a call is not admitted. `gateway/errors.py` gives each its status and wire form."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


class Refusal(Exception):
    """A call that the ledger does not admit."""


class KeyInvalid(Refusal):
    """No presented credential is a usable key. The message says which way it is not."""


@dataclass(eq=False)
class AddressNotAllowed(Refusal):
    """The key may not be used from where the call came; `address` is "" where that cannot be told."""

    key_name: str
    address: str

    def __str__(self) -> str:
        if not self.address:
            return (
                f"The API key {self.key_name} may be used from certain networks only, and the gateway cannot see from"
                " which address this call came. Connect over TCP, through a proxy that the gateway trusts if through"
                " one at all, or ask your administrator for a key without allowed networks."
            )
        return (
            f"The API key {self.key_name} may not be used from {self.address}. Call from one of the key's allowed"
            " networks, or ask your administrator to add this address to them."
        )


@dataclass(eq=False)
class QuotaExceeded(Refusal):
    """A quota has no room for the call. A person reads its text in the client, so it is in English and Chinese."""

    subject: str  # "key dev1/laptop", "user dev1", "team platform"
    unit: str
    window: str
    limit: Decimal  # in force: with the temporary raises
    used: Decimal
    currency: str
    resets_at: datetime | None  # in the business time zone
    retry_after_s: int | None
    reserved: Decimal = Decimal(0)  # by calls that are running
    expected: Decimal = Decimal(0)  # of this call
    raised: Decimal = Decimal(0)  # part of the limit
    certain: Decimal = Decimal(0)  # what the call uses however short its answer

    @property
    def can_never_fit(self) -> bool:
        """Whether the call is too big for the quota even with nothing used."""
        return self.certain > self.limit

    def __str__(self) -> str:
        return f"{self._english()} / {self._chinese()}"

    def _english(self) -> str:
        unit = self.currency if self.unit == "cost" else self.unit
        period = "in total" if self.window == "total" else f"per {'5 hours' if self.window == '5h' else self.window}"
        parts = [f"Quota of {self.subject} reached: {_number(self.limit)} {unit} {period}"]
        if self.raised:
            parts.append(f"{_number(self.raised)} of it raised for a time")
        parts.append(f"{_number(self.used)} used")
        if self.used < self.limit:
            if self.reserved:
                parts.append(f"{_number(self.reserved)} held by running calls")
            parts.append(f"about {_number(self.expected)} needed")
        until = (
            f"It resets at {_moment(self.resets_at)}."
            if self.resets_at
            else "It does not reset; ask your administrator to raise it."
        )
        if self.window == "minute" and self.can_never_fit:
            until = f"This call alone needs {_number(self.certain)}: make it smaller, or ask your administrator."
        return f"{', '.join(parts)}. {until}"

    def _chinese(self) -> str:
        kind, _, name = self.subject.partition(" ")
        unit = self.currency if self.unit == "cost" else _CHINESE[self.unit]
        parts = [
            f"配额已用完：{_CHINESE[kind]} {name} {_CHINESE[self.window]}限额 {_number(self.limit)} {unit}",
            f"已用 {_number(self.used)}",
        ]
        if self.raised:
            parts.insert(1, f"其中临时增加 {_number(self.raised)}")
        if self.used < self.limit:
            if self.reserved:
                parts.append(f"进行中的请求占用 {_number(self.reserved)}")
            parts.append(f"本次约需 {_number(self.expected)}")
        until = f"将于 {_moment(self.resets_at)} 重置。" if self.resets_at else "不会自动重置，请联系管理员调整。"
        if self.window == "minute" and self.can_never_fit:
            until = f"仅本次请求就需要 {_number(self.certain)}，请缩小请求或联系管理员。"
        return f"{'，'.join(parts)}。{until}"


_CHINESE = {
    "team": "团队",
    "user": "用户",
    "key": "密钥",
    "tokens": "token",
    "requests": "次请求",
    "minute": "每分钟",
    "5h": "每 5 小时",
    "day": "每天",
    "week": "每周",
    "month": "每月",
    "total": "累计",
}
_DISPLAYED = Decimal("0.000001")


def _number(amount: Decimal) -> str:
    return f"{amount.quantize(_DISPLAYED).normalize():f}"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} ({moment.tzinfo})"


@dataclass(eq=False)
class TooManyCalls(Refusal):
    """The key already has as many calls running as it may."""

    max_concurrency: int

    def __str__(self) -> str:
        return f"This key may run {self.max_concurrency} calls at the same time; wait for one to end."


class LedgerUnavailable(Exception):
    """The database cannot be reached; nothing can be admitted."""

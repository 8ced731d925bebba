"""People, keys, quotas and the books."""

from accounts.models.books import Attempt, CallRecord, UsageDaily, Worker
from accounts.models.people import ApiKey, Team, User
from accounts.models.quotas import Quota, QuotaWindow

__all__ = ["ApiKey", "Attempt", "CallRecord", "Quota", "QuotaWindow", "Team", "UsageDaily", "User", "Worker"]

"""The columns of a list of people: what they may be called, and what their cells may hold."""

import re
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import User
from accounts.roles import Role

# Column -> what the pages call it, and its names in a head beside its own. Any case; spaces, "_" and "-" are the same.
COLUMNS: dict[str, tuple["str | Promise", str]] = {
    "username": (gettext_lazy("username"), "user name, login, account, 用户名, 账号, 帐号, 登录名"),
    "name": (gettext_lazy("full name"), "full name, display name, 姓名, 全名"),
    "first_name": (gettext_lazy("first name"), "given name, 名"),
    "last_name": (gettext_lazy("last name"), "surname, family name, 姓"),
    "email": (gettext_lazy("e-mail"), "e mail, mail, email address, 邮箱, 电子邮箱, 电子邮件, 邮件"),
    "team": (gettext_lazy("team"), "团队, 部门, 小组"),
    "roles": (gettext_lazy("roles"), "role, 角色"),
    "language": (gettext_lazy("language"), "lang, 语言"),
    "time_zone": (gettext_lazy("time zone"), "timezone, tz, 时区"),
    "is_active": (gettext_lazy("active"), "active, enabled, 启用, 是否启用, 有效"),
}
NAMES = {column: name for column, (name, _aliases) in COLUMNS.items()}
ALIASES = {
    alias: column
    for column, (_name, aliases) in COLUMNS.items()
    for alias in [column.replace("_", " "), *aliases.split(", ")]
}
# What a cell holds to empty the field; an empty cell leaves it as it is.
EMPTY = "-"

_ROLES = {
    Role.ADMINISTRATOR: "administrator, admin, 管理员",
    Role.TEAM_LEAD: "team lead, lead, teamlead, 团队负责人, 负责人, 组长",
    Role.FINANCE: "finance, 财务",
    Role.MEMBER: "member, 成员, 普通成员",
}
_ROLE_OF = {alias: role.value for role, aliases in _ROLES.items() for alias in aliases.split(", ")}
_LANGUAGES = {
    "en": "en, en us, en gb, english, 英语, 英文",
    "zh-hans": "zh hans, zh, zh cn, chinese, simplified chinese, 中文, 简体中文, 汉语",
}
_LANGUAGE_OF = {alias: code for code, aliases in _LANGUAGES.items() for alias in aliases.split(", ")}
_TRUTHS = {
    **dict.fromkeys(("true", "yes", "y", "1", "active", "enabled", "on", "是", "启用", "有效", "真"), True),
    **dict.fromkeys(
        ("false", "no", "n", "0", "inactive", "disabled", "off", "否", "停用", "禁用", "无效", "假"), False
    ),
}
_BETWEEN_ROLES = re.compile(r"[,;、，；/|\n]+")


@dataclass(slots=True)
class Cells:
    """What the cells of a row say: values of those that are not empty, and (column, text) of those that are wrong."""

    values: dict[str, Any] = field(default_factory=dict)
    faults: list[tuple[str, str]] = field(default_factory=list)


def read_cells(cells: Mapping[str, str]) -> Cells:
    """Return what `cells`, column -> text, say."""
    found = Cells()
    for column, text in cells.items():
        if not text:
            continue
        if not text.isprintable():
            found.faults.append((column, _("holds control characters or line breaks")))
            continue
        try:
            found.values[column] = _value(column, text)
        except ValidationError as error:
            found.faults.append((column, error.messages[0]))
    return found


def _value(column: str, text: str) -> Any:
    if text == EMPTY and column not in ("username", "is_active"):
        return set() if column == "roles" else ""
    match column:
        case "roles":
            return {
                _one_of(_ROLE_OF, part, _("“%(text)s” is no role"))
                for part in _BETWEEN_ROLES.split(text)
                if part.strip()
            }
        case "language":
            return _one_of(_LANGUAGE_OF, text, _("“%(text)s” is no language; use en or zh-hans"))
        case "is_active":
            return _one_of(_TRUTHS, text, _("“%(text)s” is neither yes nor no"))
        case "time_zone":
            if text not in zoneinfo.available_timezones():
                raise ValidationError(_("“%(text)s” is no time zone such as Asia/Shanghai") % {"text": text[:60]})
        case "name":
            # It goes into one field; the other columns are checked by the model.
            longest = User._meta.get_field("first_name").max_length or 0
            if len(text) > longest:
                raise ValidationError(_("has more than %(limit)d characters") % {"limit": longest})
    return text


def _one_of(known: Mapping[str, Any], text: str, fault: str) -> Any:
    plain = " ".join(text.casefold().replace("_", " ").replace("-", " ").split())
    if plain not in known:
        raise ValidationError(fault % {"text": text.strip()[:60]})
    return known[plain]

"""Lists of e-mail addresses, as an administrator writes them: one per line."""

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.translation import gettext as _

# More than anybody means to write to; who sends to all uses a list of the mail server.
MAX_ADDRESSES = 50


def clean_addresses(text: str, *, is_needed: bool = False) -> str:
    """Return the addresses in `text`, one per line, each once, in their order.

    Commas and semicolons separate too, as mail programs write them. Raises `ValidationError` with every wrong one, and
    for none at all if one `is_needed`.
    """
    found: dict[str, str] = {}
    problems = []
    for number, line in enumerate(text.splitlines(), 1):
        for address in line.replace(",", " ").replace(";", " ").split():
            try:
                validate_email(address)
            except ValidationError:
                values = {"line": number, "text": address[:100]}
                problems.append(_("Line %(line)s: “%(text)s” is no e-mail address.") % values)
                continue
            found.setdefault(address.casefold(), address)
    if len(found) > MAX_ADDRESSES:
        problems.append(_("There are more than %(count)s addresses.") % {"count": MAX_ADDRESSES})
    if is_needed and not found and not problems:
        problems.append(_("Enter at least one e-mail address."))
    if problems:
        raise ValidationError(problems)
    return "\n".join(found.values())

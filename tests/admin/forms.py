"""Forms of the admin as a browser would send them back."""

from html.parser import HTMLParser

from django.http import HttpResponse


class _Fields(HTMLParser):
    """The fields of the form whose id ends with `_form`, with the values that they have."""

    def __init__(self) -> None:
        super().__init__()
        self.data: dict[str, list[str]] = {}
        self._is_inside = False
        self._select = ""
        self._area = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._is_inside = given.get("id", "").endswith("_form")
        if not self._is_inside:
            return
        name = given.get("name", "")
        if tag == "input" and name and given.get("type") not in ("submit", "button", "file"):
            is_box = given.get("type") in ("checkbox", "radio")
            if not is_box or "checked" in given:
                self.data.setdefault(name, []).append(given.get("value", "on" if is_box else ""))
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select:
            if "selected" in given:
                self.data.setdefault(self._select, []).append(given.get("value", ""))
        elif tag == "textarea":
            self._area = name
            self.data.setdefault(name, [""])

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._is_inside = False
        elif tag == "select":
            self._select = ""
        elif tag == "textarea":
            self._area = ""

    def handle_data(self, data: str) -> None:
        if self._area:
            self.data[self._area][0] += data.removeprefix("\r\n").removeprefix("\n")


def as_sent(page: HttpResponse) -> dict[str, list[str]]:
    """Return what the form on `page` sends when nothing is changed; the empty rows of its tables are left out."""
    fields = _Fields()
    fields.feed(page.content.decode())
    return {name: values for name, values in fields.data.items() if "__prefix__" not in name}

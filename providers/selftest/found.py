"""What a compatibility card would change in the row of its model."""

from typing import Any

from providers.models import CAPABILITIES, Model
from providers.presets import FLAG_NAMES, PRESETS, base_url_of, dialect_for


def found_values(model: Model) -> dict[str, Any]:
    """Return the `capabilities` and `flags` that the model's card says and its row does not; empty without any.

    Capabilities of which the test learned nothing stay as they are in force. Flags are added to the row's own.
    """
    card = model.compatibility
    if not isinstance(card, dict):
        return {}
    values: dict[str, Any] = {}
    unknown, proved = card.get("unknown") or (), card.get("capabilities") or ()
    if not all(name in unknown for name in CAPABILITIES):
        in_force = _in_force(model)
        capabilities = [name for name in CAPABILITIES if name in proved or (name in unknown and name in in_force)]
        if model.capabilities is None or set(model.capabilities) != set(capabilities):
            values["capabilities"] = capabilities
    flags = {name: value for name, value in (card.get("flags") or {}).items() if name in FLAG_NAMES}
    merged = {**(model.flags or {}), **flags}
    if merged != (model.flags or {}):
        values["flags"] = merged
    return values


def _in_force(model: Model) -> set[str]:
    """Return the capabilities that calls to the model have today; of a list that is unknown, what is not withheld."""
    if model.capabilities is not None:
        return set(map(str, model.capabilities))
    provider = model.provider
    wire_format = provider.wire_format or PRESETS[provider.kind].wire_format
    base_url = base_url_of(provider.kind, provider.base_url, wire_format)
    dialect = dialect_for(
        provider.kind, provider.flags or {}, model.flags or {}, None, base_url=base_url, model_id=model.model_id
    )
    if wire_format == "anthropic":
        return set(CAPABILITIES)  # passed through as they are
    return {"tools", "thinking"} | {name for name in ("vision", "pdf") if getattr(dialect, name)}

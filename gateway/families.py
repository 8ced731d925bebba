"""The families of Claude's models as aliases, so that `/model` in the client chooses something here."""

import json
import re
from collections.abc import Mapping

from gateway.config.apply import Refused, Result, apply

# Family -> the names of its models, whatever the version. Longer patterns are asked first: `other` is what is left.
FAMILIES = {"haiku": "claude-*haiku*", "sonnet": "claude-*sonnet*", "opus": "claude-*opus*", "other": "claude-*"}
_PATH = re.compile(r"^aliases\[(\d+)\](?:\.\w+)?(?=:)")


def map_families(targets: Mapping[str, str], *, dry_run: bool = False) -> Result:
    """Write the aliases of the families named, and return what changed.

    A target is written as in a configuration file: a model, `route:NAME` or `scene:NAME`. Families that are not named
    stay as they are. Raises `Refused`, with the family before each problem.
    """
    entries = [
        {"pattern": pattern, "target": targets[family]} for family, pattern in FAMILIES.items() if family in targets
    ]
    named = [family for family in FAMILIES if family in targets]
    try:
        # The way of a file: the same names, the same refusals, nothing written unless all is well.
        return apply(json.dumps({"version": 1, "aliases": entries}), read_secret=lambda _name: "", dry_run=dry_run)
    except Refused as error:
        raise Refused([_PATH.sub(lambda match: named[int(match[1])], problem) for problem in error.problems]) from error

#!/usr/bin/env python
"""Wolfgate's command line."""

import os
import sys
from typing import Any

from django.apps import apps
from django.core.management import ManagementUtility


class CommandLine(ManagementUtility):
    """Django's command line. What a command changes is written into the audit log as done by it."""

    def fetch_command(self, subcommand: str) -> Any:
        """Return the command. Without settings that can be read there are no apps, and nothing to be changed."""
        if apps.ready:
            from accounts.audit import act_from_now_on
            from gateway.audit_trail import command_actor

            act_from_now_on(command_actor(subcommand))
        return super().fetch_command(subcommand)


def main(argv: list[str] | None = None) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
    CommandLine(argv).execute()


if __name__ == "__main__":
    main(sys.argv)

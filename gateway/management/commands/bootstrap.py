from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from gateway.bootstrap import bootstrap


class Command(BaseCommand):
    help = "Set up what an empty installation needs: administrator, providers of the environment, policy, first key."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--demo-port", type=int, help="register the demo model server on this port of loopback")

    def handle(self, *args: Any, **options: Any) -> None:
        bootstrap(self.stdout.write, demo_port=options["demo_port"])

from typing import Any

from django.core.management.base import BaseCommand

from accounts.reaper import reap_calls
from routing import snapshot


class Command(BaseCommand):
    help = "Close the running calls of workers that died; the server also does this by itself."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"Closed {reap_calls(snapshot.load())} calls.")

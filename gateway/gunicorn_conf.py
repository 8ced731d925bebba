"""gunicorn's settings for more than one worker (PostgreSQL); `scripts/serve` starts it with this file."""

import os
import signal
import sys

from uvicorn_worker import UvicornWorker

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")

from django.conf import settings


class DrainingWorker(UvicornWorker):  # type: ignore[misc]  # the package has no type information
    """uvicorn's worker, told how long streams may finish: by itself it waits until gunicorn kills it, unsettled."""

    CONFIG_KWARGS = {
        "http": "httptools",
        "loop": "uvloop",
        "ws": "none",
        "lifespan": "on",
        "server_header": False,
        "forwarded_allow_ips": settings.TRUSTED_PROXIES,
        "timeout_graceful_shutdown": settings.DRAIN_TIMEOUT_S,
    }

    def init_signals(self) -> None:
        """Leave with status 0 when uvicorn, having drained, raises SIGTERM again; gunicorn logs the rest as errors."""
        super().init_signals()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


bind = f"[{settings.HOST}]:{settings.PORT}" if ":" in settings.HOST else f"{settings.HOST}:{settings.PORT}"
workers = settings.WORKERS
worker_class = DrainingWorker
# After the drain the lifespan handler still closes the ledger and the HTTP client.
graceful_timeout = int(settings.DRAIN_TIMEOUT_S) + 15
# A worker reports that it lives from its event loop, but not while it drains: this must be the longer time.
timeout = graceful_timeout + 60
keepalive = 75
accesslog = None
errorlog = "-"

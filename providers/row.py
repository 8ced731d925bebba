"""The base of the rows that people edit."""

from typing import Any

from django.db import models, transaction


class Row(models.Model):
    """A row whose saving is one transaction with what its signals write: the configuration's version, the audit log.

    Outside a transaction, Django commits a row before it sends `post_save`. Deleting is one transaction already.
    """

    class Meta:
        abstract = True

    def save_base(self, *args: Any, **kwargs: Any) -> None:
        """Write the row and send its signals."""
        with transaction.atomic(savepoint=False):
            super().save_base(*args, **kwargs)

"""The base of the rows that people edit."""

from collections.abc import Collection
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import BaseConstraint, F, UniqueConstraint


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

    def validate_constraints(self, exclude: Collection[str] | None = None) -> None:
        """Raise `ValidationError` for what the constraints of the model refuse.

        Of a constraint over expressions Django tells only its name, and it leaves out one of which a field is not in
        the form: the provider of a credential, the owner of an existing key. The database refuses it all the same. So
        what is unique over columns is looked up whenever its last column is, and the error stands at that column.
        """
        excluded = set(exclude or ())
        problems: dict[str, list[ValidationError]] = {}
        for model, constraints in self.get_constraints():
            for constraint in constraints:
                fields = unique_columns(constraint)
                if fields and fields[-1] in excluded:
                    continue
                try:
                    constraint.validate(model, self, exclude=excluded - set(fields))
                except ValidationError as error:
                    told = {fields[-1]: self.unique_error_message(model, tuple(fields))} if fields else error
                    problems = ValidationError(told).update_error_dict(problems)
        if problems:
            raise ValidationError(problems)


def unique_columns(constraint: BaseConstraint) -> list[str]:
    """Return the names of the columns that are unique together by `constraint`, none for any other constraint."""
    if not isinstance(constraint, UniqueConstraint) or constraint.condition is not None:
        return []
    # The stubs leave the name out.
    names = [str(vars(expression)["name"]) for expression in constraint.expressions if isinstance(expression, F)]
    return names if len(names) == len(constraint.expressions) else []

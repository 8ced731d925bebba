from django.apps import AppConfig
from django.db.models.signals import m2m_changed, post_migrate
from django.utils.translation import gettext_lazy as _


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = _("Accounts and books")

    def ready(self) -> None:
        from accounts import audit_signals
        from accounts.models import User
        from accounts.roles import follow_groups, sync_after_migrate

        audit_signals.connect()
        post_migrate.connect(sync_after_migrate, dispatch_uid="accounts.roles")
        m2m_changed.connect(follow_groups, sender=User.groups.through, dispatch_uid="accounts.roles")

from django.db import migrations

TOTALS = (
    "calls, failed_calls, fallback_calls, unpriced_calls, estimated_calls, input_tokens, output_tokens,"
    " cache_read_tokens, cache_write_tokens, cost, failed_cost, fallback_cost, reference_cost, compared_cost,"
    " uncached_cost"
)
DIMENSIONS = (
    "date, key_id, user_id, team_id, provider_name, model_name, scene_name, kind, currency, reference_currency"
)
BEFORE = DIMENSIONS.removesuffix(", reference_currency")
COMPARED = "cost IS NOT NULL AND reference_cost IS NOT NULL AND reference_currency <> ''"
FAILED = "status IN ('failed', 'lost')"

# What answered after others had failed, by the attempts: calls of before this column say 0.
COUNT_FALLBACKS = """
UPDATE accounts_callrecord SET fallbacks = (
    SELECT COUNT(*) FROM accounts_attempt a WHERE a.call_id = accounts_callrecord.id AND a.outcome <> 'ok'
) WHERE fallbacks = 0 AND id IN (
    SELECT call_id FROM accounts_attempt GROUP BY call_id
    HAVING COUNT(*) > 1 AND SUM(CASE WHEN outcome = 'ok' THEN 1 ELSE 0 END) > 0
)
"""

ENTRIES = f"""
SELECT booked_on AS date, key_id, user_id, team_id, provider_name, model_name, scene_name, kind, currency,
    CASE WHEN {COMPARED} THEN reference_currency ELSE '' END AS reference_currency,
    1 AS calls, CASE WHEN {FAILED} THEN 1 ELSE 0 END AS failed_calls,
    CASE WHEN fallbacks > 0 THEN 1 ELSE 0 END AS fallback_calls,
    CASE WHEN cost IS NULL AND input_tokens + output_tokens + cache_read_tokens + cache_write_tokens > 0
        THEN 1 ELSE 0 END AS unpriced_calls,
    CASE WHEN usage_is_estimated THEN 1 ELSE 0 END AS estimated_calls,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens,
    COALESCE(cost, 0) AS cost,
    CASE WHEN {FAILED} THEN COALESCE(cost, 0) ELSE 0 END AS failed_cost,
    CASE WHEN fallbacks > 0 THEN COALESCE(cost, 0) ELSE 0 END AS fallback_cost,
    CASE WHEN {COMPARED} THEN reference_cost ELSE 0 END AS reference_cost,
    CASE WHEN {COMPARED} THEN cost ELSE 0 END AS compared_cost,
    COALESCE(uncached_cost, cost, 0) AS uncached_cost
FROM accounts_callrecord WHERE status <> 'running' AND booked_on IS NOT NULL
UNION ALL
SELECT booked_on, key_id, user_id, team_id, provider_name, model_name, scene_name, kind, currency, '', 0, 0, 0, 0, 0,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost, 0, 0, 0, 0, cost
FROM accounts_correction
"""
SUMS = ", ".join(f"SUM({name})" for name in TOTALS.split(", "))


def rebuild(_apps, schema_editor):
    # Calls are never deleted, so they hold everything that the rollup is the sum of.
    schema_editor.execute(COUNT_FALLBACKS)
    schema_editor.execute("DELETE FROM accounts_usagedaily")
    schema_editor.execute(
        f"INSERT INTO accounts_usagedaily ({DIMENSIONS}, {TOTALS})"
        # In the order in which days are written while calls go on, so that a month lies together.
        f" SELECT {DIMENSIONS}, {SUMS} FROM ({ENTRIES}) AS entries GROUP BY {DIMENSIONS} ORDER BY date"
    )


def merge(_apps, schema_editor):
    """Let no rows differ by the currency of the reference only: before 0003 they are one."""
    schema_editor.execute("DELETE FROM accounts_usagedaily")
    schema_editor.execute(
        f"INSERT INTO accounts_usagedaily ({DIMENSIONS}, {TOTALS})"
        f" SELECT {BEFORE}, '', {SUMS} FROM ({ENTRIES}) AS entries GROUP BY {BEFORE} ORDER BY date"
    )


class Migration(migrations.Migration):
    """Fill the sums that `UsageDaily` did not have before 0003, and its currency of the reference, from the calls."""

    dependencies = [("accounts", "0004_roles_and_audit_guard")]

    operations = [migrations.RunPython(rebuild, merge)]

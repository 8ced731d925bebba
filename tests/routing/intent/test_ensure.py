"""Scorers are trained when the configuration is saved, read with it, and never made in a call."""

from io import StringIO
from unittest.mock import patch

from django.core.management import call_command
from django.db import connection
from django.test import TestCase

from providers import config_version
from routing import snapshot
from routing.intent import training
from routing.intent.training import ensure
from routing.models import Policy, Route, Scene, TrainedScorer


class EnsureTest(TestCase):
    def setUp(self) -> None:
        route = Route.objects.create(name="everyday")
        self.talk = Scene.objects.create(
            name="talk",
            description="Greetings and small talk.",
            examples=["hello", "你好"],
            route=route,
            is_default=True,
        )
        self.code = Scene.objects.create(
            name="code", description="Fix bugs and write code.", examples=["fix the bug", "写个函数"], route=route
        )
        self.policy = Policy.objects.create(name="smart", mode=Policy.Mode.SMART)
        # The test's own transaction never commits: what is pending in it would stand for later changes as well.
        connection.run_on_commit.clear()

    def _ensure(self) -> None:
        training.ensure_all()

    def _scorer(self) -> object:
        return snapshot.load().policies[self.policy.pk].scorer

    def test_a_scorer_is_trained_once_and_read_with_the_configuration(self) -> None:
        self.assertIsNone(self._scorer())
        self._ensure()
        row = TrainedScorer.objects.get()
        self.assertEqual(row.report["scenes"], ["code", "talk"])
        scorer = snapshot.load().policies[self.policy.pk].scorer
        assert scorer is not None
        scores = scorer.scores("please fix this bug")
        self.assertGreater(scores["code"], scores["talk"])
        self._ensure()
        self.assertEqual(TrainedScorer.objects.get().created_at, row.created_at)

    def test_a_changed_scene_replaces_the_scorer(self) -> None:
        self._ensure()
        before = TrainedScorer.objects.get().fingerprint
        self.code.examples = [*self.code.examples, "add an endpoint"]
        self.code.save(update_fields=["examples"])
        self.assertIsNone(self._scorer())
        self._ensure()
        self.assertNotEqual(TrainedScorer.objects.get().fingerprint, before)
        self.assertIsNotNone(self._scorer())

    def test_policies_with_the_same_scenes_share_a_scorer(self) -> None:
        Policy.objects.create(name="second", mode=Policy.Mode.SMART).scenes.set([self.talk, self.code])
        self._ensure()
        self.assertEqual(TrainedScorer.objects.count(), 1)
        self.assertTrue(all(policy.scorer for policy in snapshot.load().policies.values()))

    def test_nothing_is_kept_for_nobody(self) -> None:
        self._ensure()
        self.policy.delete()
        self._ensure()
        self.assertFalse(TrainedScorer.objects.exists())

    def test_a_slow_process_spares_what_a_newer_configuration_needs(self) -> None:
        older = list(snapshot.load().policies.values())
        self.code.examples = [*self.code.examples, "add an endpoint"]
        self.code.save(update_fields=["examples"])
        self._ensure()
        newer = TrainedScorer.objects.get().fingerprint
        with patch.object(training, "ensure", side_effect=lambda _policies: ensure(older)):
            training.ensure_all()
        self.assertEqual(TrainedScorer.objects.get().fingerprint, newer)

    def test_damaged_weights_are_logged_and_leave_the_policy_without_a_scorer(self) -> None:
        self._ensure()
        TrainedScorer.objects.update(weights=b"\x80\x04junk")
        with self.assertLogs("routing.snapshot", "ERROR") as logs:
            self.assertIsNone(self._scorer())
        self.assertIn("train_scorers", logs.output[0])

    def test_reading_the_configuration_never_trains(self) -> None:
        with patch.object(training, "train", side_effect=AssertionError("trained in a call")):
            self.assertIsNone(self._scorer())

    def test_a_saved_scene_is_trained_for_once_behind_the_commit(self) -> None:
        with self.captureOnCommitCallbacks(execute=False) as callbacks:
            self.talk.description = "Greetings, thanks and small talk."
            self.talk.save(update_fields=["description"])
            self.code.description = "Fix bugs, and write code."
            self.code.save(update_fields=["description"])
        self.assertEqual(len(callbacks), 1)
        before = config_version.current()
        callbacks[0]()
        self.assertIsNotNone(self._scorer())
        # Workers that read the scenes before the scorer was there read again.
        self.assertGreater(config_version.current(), before)

    def test_a_change_by_update_that_raises_the_version_is_trained_for(self) -> None:
        self._ensure()
        Scene.objects.create(name="docs", description="Write documentation.", route=self.talk.route)
        with self.captureOnCommitCallbacks(execute=True):
            Scene.objects.filter(name="docs").update(is_enabled=False)
            config_version.bump()
        self.assertEqual(TrainedScorer.objects.get().report["scenes"], ["code", "talk"])

    def test_training_that_fails_leaves_the_change_saved_and_is_logged(self) -> None:
        with (
            patch.object(training, "train", side_effect=MemoryError("too much")),
            self.assertLogs("django.test", "ERROR"),
            self.captureOnCommitCallbacks(execute=True),
        ):
            self.talk.description = "Small talk and nothing else."
            self.talk.save(update_fields=["description"])
        self.talk.refresh_from_db()
        self.assertEqual(self.talk.description, "Small talk and nothing else.")
        self.assertIsNone(self._scorer())

    def test_the_command_trains_what_is_missing_or_everything(self) -> None:
        output = StringIO()
        call_command("train_scorers", stdout=output)
        first = TrainedScorer.objects.get()
        self.assertIn("code, talk", output.getvalue())
        call_command("train_scorers", stdout=output)
        self.assertEqual(TrainedScorer.objects.get().pk, first.pk)
        TrainedScorer.objects.update(weights=b"junk")
        call_command("train_scorers", again=True, stdout=output)
        self.assertEqual(bytes(TrainedScorer.objects.get().weights), bytes(first.weights))

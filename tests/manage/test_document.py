"""The document of the management API says enough to write a client."""

from typing import Any

from gateway.manage.examples import BODIES
from gateway.manage.operations import Body
from tests.manage.callers import ManageTestCase


def bodies() -> dict[str, type[Body]]:
    """Return the schemas of bodies by name."""
    found: dict[str, type[Body]] = {}
    rest = [Body]
    while rest:
        kind = rest.pop()
        found[kind.__name__] = kind
        rest += kind.__subclasses__()
    return found


class Document(ManageTestCase):
    def setUp(self) -> None:
        document = self.answer("GET", "openapi.json")
        self.operations: dict[str, dict[str, Any]] = {
            operation["operationId"]: {**operation, "method": method}
            for methods in document["paths"].values()
            for method, operation in methods.items()
        }

    def test_every_body_has_an_example_that_is_taken(self) -> None:
        kinds, seen = bodies(), set()
        for name, operation in self.operations.items():
            if "requestBody" not in operation:
                continue
            seen.add(name)
            content = operation["requestBody"]["content"]["application/json"]
            with self.subTest(operation=name):
                self.assertIn("example", content)
                schema = content["schema"].get("$ref", "").rpartition("/")[2]
                if schema in kinds:
                    kinds[schema].model_validate(content["example"])
        self.assertEqual(seen, set(BODIES))

    def test_every_operation_says_what_it_is_needs_and_answers(self) -> None:
        for name, operation in self.operations.items():
            with self.subTest(operation=name):
                self.assertTrue(operation["summary"])
                self.assertRegex(operation["description"], r"permission `[a-z]+\.[a-z_]+`|Open to every caller")
                answers = operation["responses"]
                self.assertLessEqual({"400", "401", "403", "404", "409", "413", "500"}, set(answers))
                [good] = [status for status in answers if status.startswith("2")]
                self.assertEqual("content" in answers[good], good != "204")

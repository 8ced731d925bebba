"""The fault matrix: every fault, streamed and not, with a healthy second target and with none left."""

from tests.gateway.fault_case import FaultCase
from tests.gateway.faults import ANTHROPIC_FAULTS, OPENAI_FAULTS, Fault


class FaultMatrix(FaultCase):
    async def play(self, wire: str, faults: list[Fault]) -> None:
        async with self.failing_gateway() as gateway:
            for fault in faults:
                provider = f"{wire}-slow" if fault.is_slow else wire
                for streamed in (True, False):
                    for alone in (True, False):
                        with self.subTest(fault=fault.name, wire=wire, streamed=streamed, alone=alone):
                            cell = await self.run_cell(gateway, provider, fault.reply, streamed=streamed, alone=alone)
                            tried = [(f"{provider}/x", fault.kind, fault.status)]
                            if alone:
                                self.check_owed(cell, fault)
                                assert cell.attempts == tried
                            else:
                                self.check_healthy(cell)
                                assert cell.attempts == [*tried, ("two/y", "ok", 200)]
                            await self.check_cooldown(provider, fault.kind, fault.cools)
                            await self.check_books()

    async def test_targets_that_speak_openais_wire_format(self) -> None:
        await self.play("openai", OPENAI_FAULTS)

    async def test_targets_that_speak_anthropics_wire_format(self) -> None:
        await self.play("anthropic", ANTHROPIC_FAULTS)

"""How long a call waits for the first event of a target that was silent before, while there is another one to ask.

A model may think for minutes before it says anything, so the time that a target usually has is long. Whoever tries one
that has just let somebody else wait in vain need not wait as long again.
"""

from dataclasses import replace

from providers.target import Target

# What a probe waits for a target that last failed by its silence, unless it usually takes longer.
OF_A_PROBE_S = 20.0
_TIMES_THE_USUAL = 4.0
# Who hangs up before has changed their mind; who hangs up later has waited in vain. Without a stream nothing can be
# heard before the whole answer.
OF_A_CLIENT_S = 30.0
OF_A_CLIENT_WITHOUT_STREAM_S = 300.0


def as_probe(target: Target, usual_ttft_ms: float | None) -> Target:
    """Return `target` with no more time for its first event than a probe has."""
    seconds = max(OF_A_PROBE_S, _TIMES_THE_USUAL * (usual_ttft_ms or 0.0) / 1000)
    if seconds >= target.timeouts.first_event_s:
        return target
    return replace(target, timeouts=replace(target.timeouts, first_event_s=seconds))


def is_used_up(waited_ms: int, *, streamed: bool) -> bool:
    """Say whether a client that hangs up after so long without an answer blames the target."""
    return waited_ms >= 1000 * (OF_A_CLIENT_S if streamed else OF_A_CLIENT_WITHOUT_STREAM_S)

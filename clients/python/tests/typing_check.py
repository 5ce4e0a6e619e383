"""Checked by mypy, not run: the types that users of the kit see."""

from greenroom_testkit import Entry, Greenroom, Participant, ScenarioRun, Seeded, Server


def uses(server: Server) -> tuple[Participant, ScenarioRun, Seeded, list[Entry], dict[str, int]]:
    greenroom: Greenroom = server.isolated()
    alice = greenroom.join("lobby", user_id="alice", publish=True).mute("audio")
    with greenroom.frozen() as clock, greenroom.fault("CreateStage", throttle=2, count=1) as fault:
        clock.advance("5m")
        matched: int = fault.matched
        applied: int = fault.applied
        greenroom.fault("CreateStage", sttaus=500)  # type: ignore[call-arg]
    greenroom.join(token="t", duration="long")  # type: ignore[arg-type]
    run = greenroom.scenario("lobby").at(2).joins("alice").publishes("alice").scenario.run()
    assert (matched, applied) == (0, 0)
    return alice, run, greenroom.seed({"stages": []}), greenroom.calls(), greenroom.reset()

from agent.stages import Stages


def test_a_step_is_timed_from_the_beginning_of_the_job() -> None:
    now = [100.0]
    stages = Stages(clock=lambda: now[0])

    now[0] = 100.25
    stages.reach("joined")
    now[0] = 101.0
    stages.reach("session")

    assert list(stages) == [("joined", 250), ("session", 1000)]
    assert "joined" in stages
    assert "first_word" not in stages
    assert stages.elapsed_s == 1.0

from hypothesis import given
from hypothesis import strategies as st

from personas.sources.retries import RetryBudget


@given(
    asks=st.lists(st.booleans(), max_size=400),
    share=st.sampled_from([0.0, 0.05, 0.1, 0.5]),
    reserve=st.integers(0, 20),
)
def test_retries_never_are_more_than_a_share_of_the_requests_and_the_reserve(
    asks: list[bool], share: float, reserve: int
) -> None:
    budget = RetryBudget(share=share, reserve=reserve)
    retries = 0

    for requests, wants_retry in enumerate(asks, 1):
        budget.pay_in()
        retries += wants_retry and budget.take()

        assert retries <= share * requests + reserve + 1e-6


def test_in_an_outage_a_tenth_of_the_requests_is_repeated() -> None:
    budget = RetryBudget()
    retries = 0

    for _ in range(10_000):
        budget.pay_in()
        retries += budget.take()

    assert 1_000 <= retries <= 1_010


def test_a_rare_failure_is_always_retried() -> None:
    budget = RetryBudget()

    for _ in range(100):
        for _ in range(20):
            budget.pay_in()
        assert budget.take()

"""How many requests may be repeated: a tenth of them. Pure: no I/O, no clock.

When an API fails as a whole, retries double what it has to bear and help nobody. So each request
pays a tenth into a purse, and each retry takes one out of it. The purse starts full and holds
little: a rare failure is always retried, an outage soon is not.
"""


class RetryBudget:
    """Retries are at most *share* of the requests, and *reserve* more."""

    def __init__(self, *, share: float = 0.1, reserve: int = 10) -> None:
        self._share = share
        self._reserve = float(reserve)
        self._tokens = float(reserve)

    def pay_in(self) -> None:
        """Note a request that is no retry."""
        self._tokens = min(self._reserve, self._tokens + self._share)

    def take(self) -> bool:
        """Take what one retry costs; False: there is not enough."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

"""What every test shares."""

from hypothesis import settings

settings.register_profile("bounded", max_examples=60, deadline=None, derandomize=True)
settings.load_profile("bounded")

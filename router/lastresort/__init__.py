"""The router speaks itself: what a caller gets when no agent has come, time after time."""

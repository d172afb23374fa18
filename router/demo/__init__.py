"""The demo: real calls through a real LiveKit server on one machine.

The tests place their calls with the same parts.
"""

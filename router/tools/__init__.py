"""What the router does for agents during calls: calendars, and tools that personas declare."""

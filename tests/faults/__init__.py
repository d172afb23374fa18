"""What must hold when things break: scenarios that run for real, and write their figures down."""

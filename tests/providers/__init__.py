"""Real plugins against loopback services that speak the providers' protocols."""

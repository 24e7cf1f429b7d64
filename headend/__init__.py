"""The application: config, clock, bus, workers, schedule, API, console, command line."""

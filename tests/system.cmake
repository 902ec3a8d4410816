# Tests that run the built programs end to end.

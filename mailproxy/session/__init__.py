"""One login as one state machine, from the greeting to the hand-over to the relay."""

"""Plan, data set, loop, checkpoints and predictions of networks."""

"""Defaults of the ways of referring, in a room of their own: the help of commands must not wait for torch."""

DEFAULT_PROPOSALS = "regions"
"""Where the mask proposals of those that choose among them come from; see `car.referring.proposals.ProposalSource`."""

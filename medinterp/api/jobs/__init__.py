"""Long work with an id: it goes on when its caller, or the replica that ran it, goes away."""

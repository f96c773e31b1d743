"""Arrays of examples that look like one example: what `ad.vmap` computes with."""

"""Work on whole stores: copying one into another, merging small files, forgetting cells."""

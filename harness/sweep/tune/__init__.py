"""The study on Ray Tune: searcher, schedulers, trainable, callback."""

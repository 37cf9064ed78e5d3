"""Record and analyse the channel gates of neural networks."""

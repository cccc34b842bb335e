"""The live room: what talks to a cluster. Everything it decides, the pure rooms have decided; it reads, writes and waits."""

"""The read path as a whole: what news drop, what is left when a store is away, and how reads are found."""

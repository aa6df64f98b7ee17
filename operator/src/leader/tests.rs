//! Elections against a lease in memory, in virtual time.

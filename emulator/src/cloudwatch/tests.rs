//! CloudWatch as its clients see it, in virtual time.

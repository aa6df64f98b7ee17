//! Bad input, and what it gets, on the real cluster: refused at apply with the field and what to do, or accepted and
//! explained in a condition. None of it disturbs another camera, and no secret shows anywhere.

mod constraints;
mod every_rule;
mod explained;
mod operator;
mod refused;
mod secrets;
mod site;
mod values;

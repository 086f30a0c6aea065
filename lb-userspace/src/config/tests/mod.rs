//! The configuration as an operator meets it: text in, a model or messages out.

mod accepted;
mod documents;
mod guard;
mod health;
mod keys;
mod loading;
mod properties;
mod row;
mod syntax;
mod together;
mod values;
mod whole;

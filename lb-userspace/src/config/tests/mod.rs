//! The configuration as an operator meets it: text in, a model or messages out.

mod accepted;
mod documents;
mod generated;
mod guard;
mod health;
mod keys;
mod loading;
mod modes;
mod properties;
mod proxy;
mod row;
mod servers;
mod syntax;
mod tables;
mod together;
mod values;
mod vips;
mod whole;
